"""API keys; of the secret only a hash."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(
        """
CREATE TABLE IF NOT EXISTS api_keys (
  key_id text PRIMARY KEY,
  secret_sha256 bytea NOT NULL,
  scopes text NOT NULL,
  device_id uuid,
  account_no text,
  note text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz
)
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE api_keys")
