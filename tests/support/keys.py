"""API keys to send requests with."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from energy.http.auth import new_key
from energy.store.postgres.database import Database, PoolLimits
from energy.store.postgres.keys import PostgresKeys
from support.postgres import run


def make_key(
    dsn: str,
    *scopes: str,
    device: UUID | None = None,
    account: str | None = None,
    expires: datetime | None = None,
    source: str | None = None,
) -> dict[str, str]:
    """The headers that carry a new key."""
    token, key = new_key(frozenset(scopes), device, account, expires, source)

    async def store() -> None:
        database = Database(dsn, PoolLimits(1, 10, 0))
        assert await PostgresKeys(database, 10).create([(key, "test")])
        await database.close()

    run(store())
    return {"Authorization": f"Bearer {token}"}
