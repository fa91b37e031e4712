"""History of an account starts from its meters, also those it had."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("CREATE INDEX IF NOT EXISTS former_accounts_by_account ON former_accounts (account_no)")


def downgrade() -> None:
    op.execute("DROP INDEX former_accounts_by_account")
