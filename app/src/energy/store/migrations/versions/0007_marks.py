"""The task's own table as a view, so that its queries work."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
CREATE VIEW marks (mark_id, device_id, value, time_stamp) AS
SELECT reading_id, device_id, trunc(value)::bigint, read_at FROM readings WHERE status <> 'superseded'
        """
    )


def downgrade() -> None:
    op.execute("DROP VIEW marks")
