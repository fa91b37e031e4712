"""New columns on a table in use: nothing is rewritten, and nobody waits behind a step that waits."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from energy.store import migrations
from support.postgres import TestServer, query

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
