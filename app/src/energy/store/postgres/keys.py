"""API keys in the database: made, listed, revoked and looked up. Only a hash of the secret is ever stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from energy.store.ports import ApiKey
from energy.store.postgres import statements
from energy.store.postgres.database import Database, store_errors


@dataclass(frozen=True, slots=True)
class KeyListing:
    """What may be shown of a key."""

    key_id: str
    scopes: str
    device_id: UUID | None
    account_no: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    note: str


class PostgresKeys:
    """The `KeyStore`, and what the CLI does to it."""

    def __init__(self, database: Database, timeout_s: float) -> None:
        self._database = database
        self._timeout_s = timeout_s

    async def key(self, key_id: str) -> ApiKey | None:
        """See `KeyStore.key`."""
        async with self._database.connection(self._timeout_s) as connection:
            with store_errors():
                row = await connection.fetchrow(statements.KEY, key_id, timeout=self._timeout_s)
        if row is None:
            return None
        return ApiKey(
            row["key_id"], bytes(row["secret_sha256"]), frozenset(row["scopes"].split(",")),
            row["device_id"], row["account_no"], row["expires_at"], row["revoked_at"],
        )  # fmt: skip

    async def create(self, key: ApiKey, note: str) -> bool:
        """Stores a new key; false when the id is taken."""
        async with self._database.connection(self._timeout_s) as connection:
            with store_errors():
                done = await connection.execute(
                    statements.KEY_CREATE, key.key_id, key.secret_sha256, ",".join(sorted(key.scopes)),
                    key.device_id, key.account_no, key.expires_at, note, timeout=self._timeout_s,
                )  # fmt: skip
        return bool(done == "INSERT 0 1")

    async def revoke(self, key_id: str) -> bool:
        """Ends a key; false when there is none that is still valid."""
        async with self._database.connection(self._timeout_s) as connection:
            with store_errors():
                done = await connection.execute(statements.KEY_REVOKE, key_id, timeout=self._timeout_s)
        return bool(done == "UPDATE 1")

    async def all(self) -> list[KeyListing]:
        """Every key, oldest first."""
        async with self._database.connection(self._timeout_s) as connection:
            with store_errors():
                rows = await connection.fetch(statements.KEYS, timeout=self._timeout_s)
        return [KeyListing(**row) for row in rows]
