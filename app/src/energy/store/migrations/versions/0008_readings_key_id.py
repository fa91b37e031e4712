"""Which key sent a reading: for disputes, and for what a leaked key has sent. Readings before this have none."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE readings ADD COLUMN IF NOT EXISTS key_id text")


def downgrade() -> None:
    op.execute("ALTER TABLE readings DROP COLUMN key_id")
