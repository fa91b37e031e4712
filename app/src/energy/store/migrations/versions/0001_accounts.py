"""Accounts, for their time zone and region."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
CREATE TABLE IF NOT EXISTS accounts (
  account_no text PRIMARY KEY,
  region text NOT NULL DEFAULT '',
  time_zone text NOT NULL
)
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE accounts")
