"""Since when a meter has been its account's; without a time, always."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("ALTER TABLE meters ADD COLUMN IF NOT EXISTS account_since timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE meters DROP COLUMN account_since")
