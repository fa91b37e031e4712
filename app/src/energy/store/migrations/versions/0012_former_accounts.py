"""Whose a meter was before: each account sees the readings of its own time."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("""
CREATE TABLE IF NOT EXISTS former_accounts (
  device_id uuid NOT NULL,
  account_no text NOT NULL,
  since timestamptz,
  until timestamptz NOT NULL,
  PRIMARY KEY (device_id, until)
)
        """)


def downgrade() -> None:
    op.execute("DROP TABLE former_accounts")
