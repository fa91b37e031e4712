"""Reads: history from a replica while it is fresh, single readings and billing questions from the primary.

A reader of history would rather see a page that is seconds old than none: so a replica is used while it is within its
lag, the primary when it is not, and a replica whose lag is too great, or not known because the primary is gone, when the
primary does not answer. The page says which (`read_from`).

Reads have connections of their own (`Database`s that write nothing): a dashboard that is slow costs no reading its lane.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import date
from uuid import UUID

from energy import metrics
from energy.domain.reading import Stored
from energy.logs import Seldom
from energy.store.ports import HistoryPage, HistoryQuery, Progress, StoreError
from energy.store.postgres import statements
from energy.store.postgres.database import Database, Dialect, Row
from energy.store.postgres.progress import ProgressCounts
from energy.store.postgres.rows import stored_of

_seldom = Seldom(logging.getLogger(__name__))

LAG_CHECK_S = 1.0
EXPORT_PAGE_ROWS = 200
"""A page is made in one go: its size is what all other requests of the process wait for."""
EXPORT_MAX_S = 900.0
"""So long an export may take, the client's reading included: its view of the table keeps old rows from being cleaned up."""
_FROM_FOLLOWER = {
    statements.HISTORY_OF_DEVICE: statements.HISTORY_OF_DEVICE_FROM_FOLLOWER,
    statements.HISTORY_OF_ACCOUNT: statements.HISTORY_OF_ACCOUNT_FROM_FOLLOWER,
}


class PostgresReader:
    """The `HistoryStore`."""

    def __init__(self, primary: Database, replica: Database | None, lag_max_s: float, timeout_s: float) -> None:
        self._primary = primary
        self._replica = replica
        self._lag_max_s = lag_max_s
        self._timeout_s = timeout_s
        self._replica_fresh = False
        self._replica_checked = float("-inf")
        self._primary_failed = float("-inf")
        self.counts = ProgressCounts(self._nearest_rows, primary, timeout_s)

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """See `HistoryStore.history`."""
        of_device = query.device_id is not None
        rows, read_from = await self._from_nearest(
            statements.HISTORY_OF_DEVICE if of_device else statements.HISTORY_OF_ACCOUNT,
            query.device_id if of_device else query.account_no,
            query.limit, query.from_, query.to, *(query.after or (None, None, None)),
        )  # fmt: skip
        metrics.HISTORY_READS.labels(read_from).inc()
        return HistoryPage([stored_of(row) for row in rows], read_from)

    async def find(self, device_id: UUID, reading_id: UUID) -> Stored | None:
        """See `HistoryStore.find`."""
        rows = await self._fetch(self._primary, self._timeout_s, statements.FIND, device_id, reading_id)
        return stored_of(rows[0]) if rows else None

    async def account_of(self, device_id: UUID) -> tuple[str, str | None] | None:
        """See `HistoryStore.account_of`."""
        rows = await self._fetch(self._primary, self._timeout_s, statements.ACCOUNT_OF, device_id)
        return (rows[0]["account_no"], rows[0]["time_zone"]) if rows else None

    async def progress(self, period: date) -> Progress:
        """See `HistoryStore.progress`."""
        return await self.counts.of(period)

    async def export(self, period: date) -> AsyncIterator[list[Stored]]:
        """See `HistoryStore.export`. A task of its own reads ahead by one page, because a unit of work belongs to one task."""
        pages: asyncio.Queue[list[Stored] | StoreError | None] = asyncio.Queue(1)
        reading = asyncio.create_task(self._read_out(period, pages), name="export")
        try:
            while (page := await pages.get()) is not None:
                if isinstance(page, StoreError):
                    raise page
                yield page
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read_out(self, period: date, pages: asyncio.Queue[list[Stored] | StoreError | None]) -> None:
        """All pages as of one moment: a correction meanwhile shows neither both of a pair nor none."""
        device_id, reading_id = UUID(int=0), None
        try:
            async with self._primary.work(EXPORT_MAX_S, together=True) as session:
                if self._primary.dialect is Dialect.POSTGRES:  # CockroachDB's transactions are serializable anyway
                    await session.execute(statements.ONE_VIEW)
                    await session.execute(statements.IN_THE_ORDER_OF_AN_INDEX)
                while True:
                    async with asyncio.timeout(self._timeout_s):
                        rows = await session.fetch(statements.EXPORT, period, device_id, reading_id, EXPORT_PAGE_ROWS)
                    page = [stored_of(row) for row in rows]
                    if page:
                        await pages.put(page)
                    if len(page) < EXPORT_PAGE_ROWS:
                        break
                    device_id, reading_id = page[-1].device_id, page[-1].reading_id
        except StoreError as error:
            await pages.put(error)
        else:
            await pages.put(None)

    async def _nearest_rows(self, sql: str, *arguments: object) -> list[Row]:
        return (await self._from_nearest(sql, *arguments))[0]

    async def _from_nearest(self, sql: str, *arguments: object) -> tuple[list[Row], str]:
        """The rows, and where they came from: each place that is worth asking, in turn, within the request's time."""
        deadline = self._now() + self._timeout_s
        places = await self._places()
        for at, (database, read_from) in enumerate(places):
            left_s = (deadline - self._now()) / (len(places) - at)
            follows = database.dialect is Dialect.COCKROACH and sql in _FROM_FOLLOWER
            try:
                rows = await self._fetch(database, left_s, _FROM_FOLLOWER[sql] if follows else sql, *arguments)
            except StoreError as error:
                if database is self._replica:
                    self._replica_fresh = False
                else:
                    self._primary_failed = self._now()
                if at == len(places) - 1:
                    raise
                _seldom.warning(f"{read_from} {error.reason}", "the %s cannot be read now: %s", read_from, error)
            else:
                return rows, "follower" if follows else read_from
        raise AssertionError("unreachable: the last place returns or raises")

    async def _places(self) -> list[tuple[Database, str]]:
        primary = (self._primary, "primary")
        if self._replica is None:
            return [primary]
        if await self._replica_is_fresh(self._replica):
            return [(self._replica, "replica"), primary]
        stale = (self._replica, "stale-replica")
        # Whoever comes right after somebody who waited for the primary in vain need not wait again.
        return [stale, primary] if self._now() - self._primary_failed < LAG_CHECK_S else [primary, stale]

    async def _fetch(self, database: Database, within_s: float, sql: str, *arguments: object) -> list[Row]:
        async with database.work(within_s) as session:
            return await session.fetch(sql, *arguments)

    async def _replica_is_fresh(self, replica: Database) -> bool:
        if self._now() - self._replica_checked < LAG_CHECK_S:
            return self._replica_fresh
        self._replica_checked = self._now()
        try:  # a replica that doesn't answer must not keep readers waiting
            lag_s = float((await self._fetch(replica, LAG_CHECK_S, statements.REPLICA_LAG))[0]["lag_s"])
        except StoreError as error:
            _seldom.warning(f"lag {error.reason}", "the read replica does not answer: %s", error)
            lag_s = float("inf")
        metrics.REPLICA_LAG_SECONDS.set(lag_s)
        self._replica_fresh = lag_s <= self._lag_max_s
        return self._replica_fresh

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
