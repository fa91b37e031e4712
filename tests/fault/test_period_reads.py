"""What is asked of a period reads that period, however many years lie beside it: by rows read, not by time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from typing import Any

import pytest

from energy.domain.reading import Stored
from energy.store.ports import HistoryQuery
from energy.store.postgres import progress
from energy.store.postgres import reader as reader_module
from energy.store.postgres.database import Database, PoolLimits
from energy.store.postgres.reader import EXPORT_PAGE_ROWS, PostgresReader
from energy.store.postgres.rows import stored_of
from energy.wire.tables import csv_lines
from support.postgres import execute, query

MONTH = date(2026, 10, 1)
METERS = 1_100
MONTHS = 15
FILL = f"""
INSERT INTO readings (device_id, reading_id, register, value, read_at, period, source, status)
SELECT m.device_id, gen_random_uuid(), 'T0', n, month + '20 days'::interval, month, 'meter', 'accepted'
FROM generate_series(0, {MONTHS}) n, LATERAL (SELECT ('2026-10-01'::date - n * '1 month'::interval)::date AS month) x, meters m
"""  # noqa: S608 - constants only


@pytest.fixture
def dsn(database: str) -> str:
    """Some meters with a reading a month for more than a year."""
    for table in ("readings", "meters"):
        execute(database, f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    execute(
        database,
        "INSERT INTO meters (device_id, account_no) SELECT md5(n::text)::uuid, 'A' FROM generate_series(1, $1::int) n",
        METERS,
    )
    execute(database, FILL)
    return database


@pytest.fixture(params=["analyzed", "never analyzed"])
def known(request: pytest.FixtureRequest, dsn: str) -> str:
    """The same, and whether the planner knows it."""
    if request.param == "analyzed":
        execute(dsn, "ANALYZE")
    return dsn


async def rows_read(dsn: str, ask: Callable[[PostgresReader], Awaitable[object]]) -> int:
    """How many rows of readings it takes to answer."""
    database = Database(dsn, PoolLimits(1, 10, 128))
    try:
        await seen(database, dsn)
        before = await seen(database, dsn)
        await ask(PostgresReader(database, None, 0, 20))
        return await seen(database, dsn) - before
    finally:
        await database.close()


async def seen(database: Database, dsn: str) -> int:
    async with database.work(5) as session:  # the connection's own statistics, which it would keep for a second
        await session.fetch("SELECT pg_stat_force_next_flush()")
    read = "SELECT (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int FROM pg_stat_user_tables WHERE relname = 'readings'"
    return int((await asyncio.to_thread(query, dsn, read))[0][0])


async def whole_export(reader: PostgresReader) -> None:
    pages = reader.export(MONTH)
    assert len(await anext(pages)) == EXPORT_PAGE_ROWS
    async for _ in pages:
        pass


async def test_progress_reads_the_periods_readings_only(known: str) -> None:
    assert await rows_read(known, lambda reader: reader.progress(MONTH)) <= METERS


async def test_an_export_reads_the_periods_readings_only(known: str) -> None:
    pages = METERS // EXPORT_PAGE_ROWS
    assert await rows_read(known, whole_export) <= METERS + 50 * pages


async def test_an_export_gives_the_event_loop_back_after_each_page(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one request works on in one go is what all others wait for: two pages, one being read and one written."""
    in_one_go, most = 0, 0

    def noted(row: Mapping[str, Any]) -> Stored:
        nonlocal in_one_go
        in_one_go += 1
        return stored_of(row)

    async def others() -> None:
        nonlocal in_one_go, most
        while True:
            most, in_one_go = max(most, in_one_go), 0
            await asyncio.sleep(0)  # comes again once per turn of the loop

    monkeypatch.setattr(reader_module, "stored_of", noted)
    database = Database(dsn, PoolLimits(1, 10, 128))
    beside = asyncio.create_task(others())
    try:
        async for page in PostgresReader(database, None, 0, 20).export(MONTH):
            in_one_go += len(page)
            csv_lines(page)
    finally:
        beside.cancel()
        await database.close()
    assert 0 < most <= 2 * EXPORT_PAGE_ROWS <= 1_000


async def test_the_first_of_all_ids_is_in_an_export(database: str) -> None:
    execute(
        database,
        """INSERT INTO readings (device_id, reading_id, register, value, read_at, period, source, status)
           SELECT '00000000-0000-0000-0000-000000000000', id, 'T0', 1, '2026-10-20', '2026-10-01', 'meter', 'accepted'
           FROM unnest(ARRAY['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff']::uuid[]) id""",
    )
    connections = Database(database, PoolLimits(1, 10, 128))
    found = [
        stored.reading_id.int
        async for page in PostgresReader(connections, None, 0, 20).export(MONTH)
        for stored in page
    ]
    await connections.close()
    assert found == [0, 2**128 - 1]


async def test_a_page_of_history_reads_no_more_than_it_shows(dsn: str) -> None:
    device = query(dsn, "SELECT device_id FROM meters LIMIT 1")[0]["device_id"]
    page = HistoryQuery(device, None, limit=10)
    assert await rows_read(dsn, lambda reader: reader.history(page)) <= MONTHS + 1


async def test_a_count_that_takes_long_is_noted_for_all_and_made_again_when_old(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUICK_S", 0.0)
    assert await rows_read(dsn, lambda reader: reader.progress(MONTH)) > 0
    assert await rows_read(dsn, lambda reader: reader.progress(MONTH)) == 0
    execute(dsn, "UPDATE progress SET counted_at = now() - '1 hour'::interval")
    assert await rows_read(dsn, lambda reader: reader.progress(MONTH)) > 0


async def test_the_current_period_is_counted_before_anybody_has_to_wait(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUICK_S", 0.0)
    database = Database(dsn, PoolLimits(1, 10, 128))
    reader = PostgresReader(database, None, 0, 20)
    before = (await reader.progress(MONTH)).counted_at
    execute(dsn, "UPDATE progress SET counted_at = counted_at - '100 seconds'::interval")
    looked = asyncio.Event()
    first = iter([None])

    async def sleep(_seconds: float) -> None:
        if next(first, looked) is looked:
            looked.set()
            await asyncio.Event().wait()

    keeping = asyncio.create_task(reader.counts.keep_counted(lambda: MONTH, sleep))
    try:
        await asyncio.wait_for(looked.wait(), 20)
        assert (await reader.progress(MONTH)).counted_at > before
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await database.close()
