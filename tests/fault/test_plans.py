"""A plan that was made on an empty table, and kept, reads no more rows once the table has grown under it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from energy.domain.checks import CheckPolicy
from energy.domain.reading import Reading
from energy.domain.window import SubmissionWindow
from energy.store.postgres import sessions
from energy.store.postgres.database import Database, Dialect, Plans, PoolLimits
from energy.store.postgres.sessions import PLANNED_ONCE_ROWS_MAX
from energy.store.postgres.writer import PostgresWriter
from support.postgres import execute, query

NOW = datetime(2026, 11, 20, tzinfo=UTC)
POLICY = CheckPolicy(SubmissionWindow(15, 26), "Europe/Samara", 300, 500)
GROWN_ROWS = 20_000
READ_PER_ROW_MAX = 8
"""A row's meter, account, previous and next reading, and its own; not the table."""
GROW = f"""
WITH grown AS (INSERT INTO meters (device_id, account_no, serial, digits, decimals, multiplier)
  SELECT gen_random_uuid(), '', '', 6, 3, 1 FROM generate_series(1, {GROWN_ROWS}) RETURNING device_id)
INSERT INTO readings (device_id, reading_id, register, value, read_at, received_at, period, source, status, flags)
SELECT device_id, gen_random_uuid(), 'T0', 1, '2026-10-20', '2026-10-20', '2026-10-01', 'meter', 'accepted', '' FROM grown
"""  # noqa: S608 - constants only


def batch_of(rows: int) -> list[Reading]:
    return [Reading(uuid4(), uuid4(), "T0", "2.000", NOW, NOW, "meter") for _ in range(rows)]


async def rows_read_per_row(dsn: str, rows: int) -> float:
    """What one batch reads on a table that grew under the one connection which had planned for an empty one."""
    database = Database(dsn, PoolLimits(1, 10, 128))
    writer = PostgresWriter(database, POLICY, lambda: NOW)
    try:
        await writer.append(batch_of(rows), 20)
        await asyncio.to_thread(execute, dsn, GROW)
        before = await seen(database, dsn)
        await writer.append(batch_of(rows), 20)
        return (await seen(database, dsn) - before) / rows
    finally:
        await database.close()


async def seen(database: Database, dsn: str) -> int:
    async with database.work(5) as session:  # the connection's own statistics, which it would keep for a second
        await session.fetch("SELECT pg_stat_force_next_flush()")
    read = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int FROM pg_stat_user_tables"
    return int((await asyncio.to_thread(query, dsn, read))[0][0])


@pytest.fixture
def unanalyzed(database: str) -> str:
    for table in ("readings", "meters", "accounts"):
        execute(database, f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    return database


@pytest.mark.parametrize("rows", [1, 20, PLANNED_ONCE_ROWS_MAX])
async def test_a_plan_made_on_an_empty_table_reads_no_more_when_it_has_grown(unanalyzed: str, rows: int) -> None:
    assert await rows_read_per_row(unanalyzed, rows) <= READ_PER_ROW_MAX


async def test_without_the_session_settings_a_kept_plan_reads_the_whole_table(
    unanalyzed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap of docs/adr/0003 is there: or the test above would prove nothing."""
    monkeypatch.setitem(sessions._PLANS[Dialect.POSTGRES], Plans.ONCE, {"plan_cache_mode": "force_generic_plan"})
    assert await rows_read_per_row(unanalyzed, 20) > 100
