"""Readings: the key spreads over the key space, keeps a device together and removes duplicates."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
CREATE TABLE IF NOT EXISTS readings (
  device_id uuid NOT NULL,
  reading_id uuid NOT NULL,
  register text NOT NULL CHECK (register IN ('T0', 'T1', 'T2', 'T3')),
  value numeric(12,3) NOT NULL CHECK (value >= 0),
  read_at timestamptz NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  period date NOT NULL,
  source text NOT NULL,
  status text NOT NULL CHECK (status IN ('accepted', 'flagged', 'superseded')),
  flags text NOT NULL DEFAULT '',
  supersedes uuid,
  PRIMARY KEY (device_id, reading_id)
)
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE readings")
