"""The previous reading of a register, without touching the table."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """
CREATE INDEX IF NOT EXISTS readings_history ON readings (device_id, register, read_at DESC) INCLUDE (value, status)
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX readings_history")
