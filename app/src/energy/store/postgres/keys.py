"""API keys in the database, and whose devices they may speak for. Only a hash of a secret is ever stored.

What authentication asks is asked for many at once: a query per key would let a month's worth of households queue for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

from energy.store.ports import ApiKey, KeyListing, Tenancy
from energy.store.postgres import statements
from energy.store.postgres.database import Database, Row


class PostgresKeys:
    """The `KeyStore` and the `KeyAdmin`. `timeout_s` bounds what those who hand keys out ask."""

    def __init__(self, database: Database, timeout_s: float) -> None:
        self._database = database
        self._timeout_s = timeout_s

    async def keys(self, key_ids: Sequence[str], timeout_s: float) -> dict[str, ApiKey]:
        """See `KeyStore.keys`."""
        async with self._database.work(timeout_s) as session:
            rows = await session.fetch(statements.KEYS_OF, list(key_ids))
        return {row["key_id"]: _key_of(row) for row in rows}

    async def accounts(self, device_ids: Sequence[UUID], timeout_s: float) -> dict[UUID, Tenancy]:
        """See `KeyStore.accounts`."""
        async with self._database.work(timeout_s) as session:
            rows = await session.fetch(statements.ACCOUNTS_OF, list(device_ids))
        return {row["device_id"]: Tenancy(row["account_no"], row["account_since"]) for row in rows}

    async def create(self, keys: Sequence[tuple[ApiKey, str]]) -> int:
        """See `KeyAdmin.create`."""
        columns = zip(*[
            (
                key.key_id, key.secret_sha256, ",".join(sorted(key.scopes)), key.device_id, key.account_no, key.expires_at,
                note, key.source,
            )
            for key, note in keys
        ], strict=True)  # fmt: skip
        async with self._database.work(self._timeout_s) as session:
            done = await session.execute(statements.KEYS_CREATE, *(list(column) for column in columns))
        return int(done.rsplit(" ", 1)[1])

    async def replace(self, key: ApiKey, note: str) -> bool:
        """Gives the key of that id and note another secret and these scopes, valid again and bound to nothing.

        False when there is none, or when it has this very secret: then it stays as it is, also revoked.
        """
        async with self._database.work(self._timeout_s) as session:
            scopes = ",".join(sorted(key.scopes))
            done = await session.execute(statements.KEY_REPLACE, key.key_id, key.secret_sha256, scopes, note)
        return done == "UPDATE 1"

    async def revoke(self, key_id: str) -> bool:
        """See `KeyAdmin.revoke`."""
        async with self._database.work(self._timeout_s) as session:
            done = await session.execute(statements.KEY_REVOKE, key_id)
        return done == "UPDATE 1"

    async def page(self, after: str, limit: int) -> list[KeyListing]:
        """See `KeyAdmin.page`."""
        async with self._database.work(self._timeout_s) as session:
            rows = await session.fetch(statements.KEYS, after, limit)
        return [KeyListing(**row) for row in rows]

    async def mark_used(self, key_ids: Sequence[str]) -> None:
        """See `KeyAdmin.mark_used`."""
        async with self._database.work(self._timeout_s) as session:
            await session.execute(statements.KEYS_USED, list(key_ids))


def _key_of(row: Row) -> ApiKey:
    return ApiKey(
        row["key_id"], bytes(row["secret_sha256"]), _scopes(row["scopes"]),
        row["device_id"], row["account_no"], row["expires_at"], row["revoked_at"], row["source"],
    )  # fmt: skip


@lru_cache(maxsize=64)
def _scopes(text: str) -> frozenset[str]:
    """One set for all keys that have the same scopes: there may be tens of thousands in the cache."""
    return frozenset(text.split(","))
