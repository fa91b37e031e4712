"""Meters, for matching and for the rollover rule."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
CREATE TABLE IF NOT EXISTS meters (
  device_id uuid PRIMARY KEY,
  account_no text NOT NULL,
  serial text NOT NULL DEFAULT '',
  digits int NOT NULL DEFAULT 6 CHECK (digits BETWEEN 1 AND 9),
  decimals int NOT NULL DEFAULT 3 CHECK (decimals BETWEEN 0 AND 3),
  multiplier numeric(9,3) NOT NULL DEFAULT 1 CHECK (multiplier > 0),
  installed_at timestamptz,
  removed_at timestamptz
)
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE meters")
