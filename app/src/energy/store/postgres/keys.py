"""API keys in the database, and whose devices they may speak for. Only a hash of a secret is ever stored.

What authentication asks is asked for many at once: a query per key would let a month's worth of households queue for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from energy.store.ports import ApiKey
from energy.store.postgres import statements
from energy.store.postgres.database import Database, Row


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
    """The `KeyStore`, and what the CLI does to it. `timeout_s` bounds what the CLI asks."""

    def __init__(self, database: Database, timeout_s: float) -> None:
        self._database = database
        self._timeout_s = timeout_s

    async def keys(self, key_ids: Sequence[str], timeout_s: float) -> dict[str, ApiKey]:
        """See `KeyStore.keys`."""
        async with self._database.work(timeout_s) as session:
            rows = await session.fetch(statements.KEYS_OF, list(key_ids))
        return {row["key_id"]: _key_of(row) for row in rows}

    async def accounts(self, device_ids: Sequence[UUID], timeout_s: float) -> dict[UUID, str]:
        """See `KeyStore.accounts`."""
        async with self._database.work(timeout_s) as session:
            rows = await session.fetch(statements.ACCOUNTS_OF, list(device_ids))
        return {row["device_id"]: row["account_no"] for row in rows}

    async def create(self, key: ApiKey, note: str) -> bool:
        """Stores a new key; false when the id is taken."""
        async with self._database.work(self._timeout_s) as session:
            done = await session.execute(
                statements.KEY_CREATE, key.key_id, key.secret_sha256, ",".join(sorted(key.scopes)),
                key.device_id, key.account_no, key.expires_at, note,
            )  # fmt: skip
        return done == "INSERT 0 1"

    async def revoke(self, key_id: str) -> bool:
        """Ends a key; false when there is none that is still valid."""
        async with self._database.work(self._timeout_s) as session:
            done = await session.execute(statements.KEY_REVOKE, key_id)
        return done == "UPDATE 1"

    async def all(self) -> list[KeyListing]:
        """Every key, oldest first."""
        async with self._database.work(self._timeout_s) as session:
            rows = await session.fetch(statements.KEYS)
        return [KeyListing(**row) for row in rows]


def _key_of(row: Row) -> ApiKey:
    return ApiKey(
        row["key_id"], bytes(row["secret_sha256"]), _scopes(row["scopes"]),
        row["device_id"], row["account_no"], row["expires_at"], row["revoked_at"],
    )  # fmt: skip


@lru_cache(maxsize=64)
def _scopes(text: str) -> frozenset[str]:
    """One set for all keys that have the same scopes: there may be tens of thousands in the cache."""
    return frozenset(text.split(","))
