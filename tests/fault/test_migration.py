"""A schema that changes under a table in use: nothing is rewritten, nobody waits, and what is cut off is ended by the next."""

from __future__ import annotations

import asyncio
import os
import time

import asyncpg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from energy.store import migrations
from support.postgres import TestServer, execute, query
from support.service import PROGRAM
from tools.local.waiting import until

FILE = "SELECT pg_relation_filenode('readings') AS file"
INSERT = """
INSERT INTO readings (device_id, reading_id, register, value, read_at, period, source, status)
VALUES (gen_random_uuid(), gen_random_uuid(), 'T0', 1, now(), '2026-11-01', 'meter', 'accepted')
"""
BEFORE = "0007"


async def migrate_to(dsn: str, version: str) -> None:
    """As `migrations.migrate`, and no further."""
    scripts = migrations._scripts()

    def steps(connection: Connection) -> None:
        context = MigrationContext.configure(connection)
        with context.begin_transaction(), Operations.context(context):
            for step in reversed(list(scripts.iterate_revisions(version, "base"))):
                step.module.upgrade()
            context.stamp(scripts, version)

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn), poolclass=NullPool
    )
    async with engine.connect() as connection:
        await connection.run_sync(steps)
        await connection.commit()


@pytest.fixture
async def old(postgres: TestServer) -> str:
    dsn = postgres.empty()
    await migrate_to(dsn, BEFORE)
    return dsn


async def test_a_step_on_a_table_in_use_holds_up_readings_for_a_moment_only(old: str) -> None:
    reader, writer = await asyncpg.connect(old), await asyncpg.connect(old)
    file = query(old, FILE)
    transaction = reader.transaction()
    await transaction.start()
    await reader.fetch("SELECT * FROM readings")  # an export that goes on: no step can have its table meanwhile
    migrating = asyncio.create_task(migrations.migrate(old, cockroach=False, timeout_s=10))
    longest = 0.0
    for attempt in range(8):
        began = time.monotonic()
        await writer.execute(INSERT)
        longest = max(longest, time.monotonic() - began)
        if attempt < 7:
            await asyncio.sleep(0.2)
    assert not migrating.done()
    assert longest < migrations.LOCK_TIMEOUT_S + 1
    await transaction.rollback()
    assert await migrating == migrations.head()
    assert query(old, FILE) == file, "the table was rewritten"
    await asyncio.gather(reader.close(), writer.close())


async def migrating(dsn: str) -> asyncio.subprocess.Process:
    """The program, at it."""
    environment = {**os.environ, "ENERGY_DATABASE_URL": dsn}
    return await asyncio.create_subprocess_exec(PROGRAM, "migrate", env=environment)


async def at(postgres: TestServer, version: str) -> str:
    dsn = postgres.empty()
    await migrate_to(dsn, version)
    return dsn


def index(dsn: str) -> tuple[int, bool] | None:
    """The index by period: which one it is, and whether it can be used."""
    found = query(
        dsn, "SELECT indexrelid, indisvalid FROM pg_index WHERE indexrelid = to_regclass('readings_by_period')"
    )
    return (found[0]["indexrelid"], found[0]["indisvalid"]) if found else None


def builders(dsn: str) -> list[int]:
    return [
        row["pid"]
        for row in query(dsn, "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()")
    ]


@pytest.mark.parametrize("killed", ["client and server", "client"])
async def test_an_index_whose_building_is_killed_is_built_by_the_next_migration(
    postgres: TestServer, killed: str
) -> None:
    dsn = await at(postgres, "0013")
    file = query(dsn, FILE)
    reader, writer = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    await writer.execute("SET lock_timeout = '50ms'")  # whoever has to wait behind the build fails
    export = reader.transaction(isolation="repeatable_read")
    await export.start()
    await reader.fetch("SELECT * FROM readings")  # a build cannot end before what began before it
    first = await migrating(dsn)
    stored = 0
    while (found := index(dsn)) is None or not builders(dsn):
        await writer.execute(INSERT)
        stored += 1
    assert not found[1], "the build should still go on"
    first.kill()
    await first.wait()
    if killed == "client and server":
        execute(
            dsn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index WHERE datname = current_database()",
        )
        until(lambda: not builders(dsn), "the build to end")
        assert index(dsn) == found, "half an index should be left behind"
    second = asyncio.create_task(migrations.migrate(dsn, cockroach=False, timeout_s=10))
    for _ in range(20):
        await writer.execute(INSERT)
        stored += 1
    assert not second.done()
    await export.rollback()
    assert await second == migrations.head()
    now = index(dsn)
    assert now is not None
    assert now[1]
    assert (now[0] == found[0]) == (killed == "client"), "what was going on is used, what was cut off is not"
    assert query(dsn, FILE) == file, "the table was rewritten"
    await writer.execute("SET enable_seqscan = off")
    plan = str(await writer.fetch("EXPLAIN SELECT * FROM readings WHERE period = '2026-11-01'"))
    assert "readings_by_period" in plan
    assert await writer.fetchval("SELECT count(*) FROM readings WHERE period = '2026-11-01'") == stored
    await asyncio.gather(reader.close(), writer.close())


async def test_replicas_that_migrate_at_once_all_end_at_the_same_schema(postgres: TestServer) -> None:
    dsn = await at(postgres, "0013")
    replicas = [await migrating(dsn) for _ in range(2)]
    assert [await replica.wait() for replica in replicas] == [0, 0]
    assert query(dsn, "SELECT version_num FROM alembic_version")[0]["version_num"] == migrations.head()
    found = index(dsn)
    assert found is not None
    assert found[1]
