"""Which source the readings of a key have; without one the client says it."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS source text")


def downgrade() -> None:
    op.execute("ALTER TABLE api_keys DROP COLUMN source")
