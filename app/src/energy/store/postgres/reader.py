"""Reads: history from a replica while it is fresh, single readings and billing questions from the primary.

A reader of history would rather see a page that is seconds old than none: so a replica is used while it is within its
lag, the primary when it is not, and the page says which (`read_from`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import date
from uuid import UUID

import asyncpg

from energy import metrics
from energy.domain.reading import Stored
from energy.store.ports import HistoryPage, HistoryQuery, Progress, StoreError, Unavailable
from energy.store.postgres import statements
from energy.store.postgres.database import Database, Dialect, store_errors
from energy.store.postgres.rows import stored_of

log = logging.getLogger(__name__)

LAG_CHECK_S = 1.0
EXPORT_PAGE_ROWS = 5_000
_FIRST = UUID(int=0)


class PostgresReader:
    """The `HistoryStore`."""

    def __init__(self, primary: Database, replica: Database | None, lag_max_s: float, timeout_s: float) -> None:
        self._primary = primary
        self._replica = replica
        self._lag_max_s = lag_max_s
        self._timeout_s = timeout_s
        self._replica_fresh = False
        self._replica_checked = float("-inf")

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """See `HistoryStore.history`."""
        if self._replica is not None and await self._replica_is_fresh(self._replica):
            try:
                return HistoryPage(await self._page(self._replica, query, "replica"), "replica")
            except StoreError as error:
                log.warning("the read replica failed, reading from the primary: %s", error)
                self._replica_fresh = False
        read_from = "follower" if self._primary.dialect is Dialect.COCKROACH else "primary"
        return HistoryPage(await self._page(self._primary, query, read_from), read_from)

    async def find(self, device_id: UUID, reading_id: UUID) -> Stored | None:
        """See `HistoryStore.find`."""
        rows = await self._fetch(self._primary, statements.FIND, device_id, reading_id)
        return stored_of(rows[0]) if rows else None

    async def account_of(self, device_id: UUID) -> tuple[str, str | None] | None:
        """See `HistoryStore.account_of`."""
        rows = await self._fetch(self._primary, statements.ACCOUNT_OF, device_id)
        return (rows[0]["account_no"], rows[0]["time_zone"]) if rows else None

    async def progress(self, period: date) -> Progress:
        """See `HistoryStore.progress`."""
        replica = self._replica if self._replica is not None and await self._replica_is_fresh(self._replica) else None
        row = (await self._fetch(replica or self._primary, statements.PROGRESS, period))[0]
        return Progress(period, row["expected"], row["received"], row["flagged"])

    async def export(self, period: date) -> AsyncIterator[list[Stored]]:
        """See `HistoryStore.export`."""
        device_id, reading_id = _FIRST, _FIRST
        while True:
            rows = await self._fetch(self._primary, statements.EXPORT, period, device_id, reading_id, EXPORT_PAGE_ROWS)
            if not rows:
                return
            page = [stored_of(row) for row in rows]
            yield page
            device_id, reading_id = page[-1].device_id, page[-1].reading_id

    async def _page(self, database: Database, query: HistoryQuery, read_from: str) -> list[Stored]:
        of_device = query.device_id is not None
        if read_from == "follower":
            sql = (
                statements.HISTORY_OF_DEVICE_FROM_FOLLOWER if of_device else statements.HISTORY_OF_ACCOUNT_FROM_FOLLOWER
            )
        else:
            sql = statements.HISTORY_OF_DEVICE if of_device else statements.HISTORY_OF_ACCOUNT
        after_at, after_id = query.after or (None, None)
        whose = query.device_id if of_device else query.account_no
        # A replica has half of the time, so that the primary can still be asked within the request's.
        timeout_s = self._timeout_s / 2 if read_from == "replica" else self._timeout_s
        rows = await self._fetch(
            database, sql, whose, query.limit, query.from_, query.to, after_at, after_id, timeout_s=timeout_s
        )
        metrics.HISTORY_READS.labels(read_from).inc()
        return [stored_of(row) for row in rows]

    async def _fetch(
        self, database: Database, sql: str, *arguments: object, timeout_s: float | None = None
    ) -> list[asyncpg.Record]:
        within_s = self._timeout_s if timeout_s is None else timeout_s
        async with database.connection(within_s) as connection:
            with store_errors():
                rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments, timeout=within_s)
                return rows

    async def _replica_is_fresh(self, replica: Database) -> bool:
        if time.monotonic() - self._replica_checked < LAG_CHECK_S:
            return self._replica_fresh
        self._replica_checked = time.monotonic()
        try:
            async with asyncio.timeout(LAG_CHECK_S):  # a replica that doesn't answer must not keep readers waiting
                lag_s = float((await self._fetch(replica, statements.REPLICA_LAG))[0]["lag_s"])
        except (StoreError, TimeoutError) as error:
            log.warning("the read replica does not answer: %s", str(error) or "not in time")
            lag_s = float("inf")
        metrics.REPLICA_LAG_SECONDS.set(lag_s)
        self._replica_fresh = lag_s <= self._lag_max_s
        return self._replica_fresh


class SchemaWatch:
    """Whether the database has the schema that this code needs, for readiness."""

    def __init__(self, database: Database, wanted: str, timeout_s: float) -> None:
        self._database = database
        self._wanted = wanted
        self._timeout_s = timeout_s

    async def complaint(self) -> str | None:
        """Why the database cannot be used now, or nothing."""
        try:
            async with self._database.connection(self._timeout_s) as connection:
                with store_errors():
                    version = await connection.fetchval(statements.SCHEMA_VERSION, timeout=self._timeout_s)
        except Unavailable as error:
            return str(error)
        except StoreError as error:
            return f"the schema version cannot be read ({error}); run `energy migrate`"
        if version is None or str(version) < self._wanted:
            return f"the schema is at {version or 'nothing'}, this version needs {self._wanted}; run `energy migrate`"
        return None
