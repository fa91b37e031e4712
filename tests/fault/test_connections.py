"""The connections to the database themselves: how old they get, how a lost peer is noticed, and whose they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from energy.domain.reading import Committed
from energy.service import Service
from energy.settings import AuthMode, Settings
from energy.store.ports import StoreError
from energy.store.postgres import sessions
from energy.store.postgres.database import Database, PoolLimits, UnsafeDatabase
from fault.proxy import Proxy
from support.postgres import TestServer, run
from unit.energy.fakes import a_reading

SILENT_MAX_S = 2
PATIENT_S = 30.0


async def backend_of(database: Database) -> int:
    async with database.work(PATIENT_S) as session:
        row = await session.fetchrow("SELECT pg_backend_pid() AS pid")
    assert row is not None
    return int(row["pid"])


def test_a_connection_is_replaced_when_it_is_old(database: str) -> None:
    """So that load comes back to a node that was restarted, and what a server has piled up for a session goes."""

    async def pids(age_max_s: float) -> set[int]:
        pool = Database(database, PoolLimits(1, 5, 100, age_max_s))
        found = {await backend_of(pool) for _ in range(20)}
        await pool.close()
        return found

    assert len(run(pids(PATIENT_S))) == 1
    assert len(run(pids(0.0))) == 20


def test_a_database_whose_machine_vanished_is_noticed_before_the_deadline(
    postgres: TestServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says no goodbye, so only the kernel's own questions tell a slow answer from none."""
    monkeypatch.setattr(sessions, "_PEER_SILENT_MAX_S", SILENT_MAX_S)

    async def vanish(proxy: Proxy) -> tuple[float, int]:
        pool = Database(proxy.dsn(database), PoolLimits(1, 5, 100))
        await backend_of(pool)
        proxy.vanish()
        began = time.monotonic()
        with pytest.raises(StoreError):
            await backend_of(pool)
        noticed_s = time.monotonic() - began
        new = await backend_of(pool)
        await pool.close()
        return noticed_s, new

    with Proxy(postgres.postgres.data_dir) as proxy:
        noticed_s, new = run(vanish(proxy))
    assert noticed_s < SILENT_MAX_S + 3
    assert new


@asynccontextmanager
async def started(dsn: str) -> AsyncIterator[Service]:
    unsafe: list[UnsafeDatabase] = []
    service = Service(Settings(auth=AuthMode.OFF), dsn, on_unsafe=unsafe.append)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def test_dashboards_that_hold_every_connection_for_reads_cost_the_intake_none(database: str) -> None:
    async def intake_beside_dashboards() -> tuple[object, str | None]:
        async with started(database) as service, asyncio.TaskGroup() as dashboards:
            held, let_go = asyncio.Semaphore(0), asyncio.Event()
            for _ in range(24):
                dashboards.create_task(hold(service.reads, held.release, let_go))
            for _ in range(Settings().database_read_connections_max):
                await held.acquire()
            outcome = await service.queue.submit(a_reading())
            complaint = await service.complaint()
            let_go.set()
            return outcome, complaint

    outcome, complaint = run(intake_beside_dashboards())
    assert isinstance(outcome, Committed)
    assert complaint is None


async def hold(reads: Database, holds: Callable[[], None], until: asyncio.Event) -> None:
    async with reads.work(PATIENT_S):
        holds()
        await until.wait()
