"""The readings of a period, in the order of an export: without this, progress and exports read all the years."""

from energy.store.migrations.online import create_index, drop_index

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    create_index("readings_by_period", "readings", "(period, device_id)")


def downgrade() -> None:
    drop_index("readings_by_period")
