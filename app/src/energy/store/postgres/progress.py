"""How far a period has come: counted, and where counting takes long, what was counted a little earlier.

It exists because the figure is of all meters and of all readings of a period: at the end of a month counting takes seconds,
and a dashboard asks all day. Counters beside the readings would cost each reading a write, and drift. So the whole is
counted, for a small share of the time, and noted in the database for all processes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, date

from energy.logs import Seldom
from energy.store.ports import Progress, StoreError
from energy.store.postgres import statements
from energy.store.postgres.database import Database, Dialect, Row

_seldom = Seldom(logging.getLogger(__name__))

QUICK_S = 0.02
"""A count that took no longer is made anew for everybody who asks."""
GOOD_FOR_S, GOOD_FOR_TIMES = 120.0, 40
"""Any other is good for two minutes, or for so many times as long as it took."""
OLD_S = 600.0
"""So old, a quick count is made again by itself: it may be a slow one by now, which nobody should wait for."""
LOOK_EVERY_S = 20.0


class ProgressCounts:
    """One per process. `noted` reads from the nearest server; counting is the primary's."""

    def __init__(self, noted: Callable[..., Awaitable[list[Row]]], primary: Database, timeout_s: float) -> None:
        self._fetch_noted = noted
        self._primary = primary
        self._timeout_s = timeout_s
        self._counting: dict[date, asyncio.Task[Progress]] = {}

    async def of(self, period: date) -> Progress:
        """See `HistoryStore.progress`. When the primary does not answer, it is the last count, however old."""
        noted = await self._noted(period)
        if noted is not None and noted["took_s"] > QUICK_S and noted["age_s"] <= _good_for_s(noted):
            return _progress(noted)
        try:
            return await self._counted(period)
        except StoreError as error:
            if noted is None:
                raise
            _seldom.warning(error.reason, "a period's progress cannot be counted now: %s", error)
            return _progress(noted)

    async def keep_counted(self, current: Callable[[], date], sleep: Callable[[float], Awaitable[None]]) -> None:
        """Counts the current period before its note is too old, once anybody has asked. Runs until it is cancelled."""
        while True:
            await sleep(LOOK_EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311 - so that processes do not count together
            try:
                noted = await self._noted(current())
                if noted is not None and noted["age_s"] > _again_after_s(noted):
                    await self._counted(current())
            except StoreError as error:
                _seldom.warning(error.reason, "a period's progress cannot be counted now: %s", error)

    async def _noted(self, period: date) -> Row | None:
        rows = await self._fetch_noted(statements.PROGRESS_NOTED, period)
        return rows[0] if rows else None

    async def _counted(self, period: date) -> Progress:
        """Everybody who asks meanwhile shares one count, and may stop waiting for it."""
        counting = self._counting.get(period)
        if counting is None:
            counting = self._counting[period] = asyncio.create_task(self._count(period), name="progress")
            counting.add_done_callback(lambda done: self._forget(period, done))
        return await asyncio.shield(counting)

    def _forget(self, period: date, done: asyncio.Task[Progress]) -> None:
        del self._counting[period]
        if not done.cancelled():
            done.exception()  # somebody may have stopped waiting for it

    async def _count(self, period: date) -> Progress:
        now = asyncio.get_running_loop().time
        async with self._primary.work(self._timeout_s, together=True) as session:
            if self._primary.dialect is Dialect.POSTGRES:
                await session.execute(statements.IN_THE_ORDER_OF_THE_DISK)
            began = now()
            (row,) = await session.fetch(statements.PROGRESS, period)
            took_s = now() - began
        try:
            await self._note(row, took_s)
        except StoreError as error:  # it is right all the same, and the next one who asks counts again
            _seldom.warning(error.reason, "a period's progress cannot be noted now: %s", error)
        return _progress(row)

    async def _note(self, row: Row, took_s: float) -> None:
        figures = (row["period"], row["expected"], row["received"], row["flagged"], row["counted_at"])
        async with self._primary.work(self._timeout_s, together=True) as session:
            if self._primary.dialect is Dialect.POSTGRES:
                await session.execute(statements.NOT_WAITING)
            await session.execute(statements.PROGRESS_NOTE, *figures, took_s)


def _progress(row: Row) -> Progress:
    return Progress(row["period"], row["expected"], row["received"], row["flagged"], row["counted_at"].astimezone(UTC))


def _good_for_s(noted: Row) -> float:
    return max(GOOD_FOR_S, GOOD_FOR_TIMES * float(noted["took_s"]))


def _again_after_s(noted: Row) -> float:
    return _good_for_s(noted) / 2 if noted["took_s"] > QUICK_S else OLD_S
