"""How far each period has come, as it was counted last: counting takes seconds where millions of readings are in."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("""
CREATE TABLE IF NOT EXISTS progress (
  period date PRIMARY KEY,
  expected bigint NOT NULL,
  received bigint NOT NULL,
  flagged bigint NOT NULL,
  counted_at timestamptz NOT NULL,
  took_s double precision NOT NULL
)
        """)


def downgrade() -> None:
    op.execute("DROP TABLE progress")
