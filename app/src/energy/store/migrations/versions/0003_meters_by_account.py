"""History and progress of an account start from its meters."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
CREATE INDEX IF NOT EXISTS meters_by_account ON meters (account_no)
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX meters_by_account")
