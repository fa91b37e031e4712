"""One round of a fault test: load, a fault at a seeded moment, recovery, the clients' retries, and the verdict.

The figures are small so that a round takes a few seconds; it is the seeds that make many different rounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from fault import killing
from fault.checker import Row, Verdict, judge
from fault.history import History, events_in
from fault.load import Meters, client_session
from support.postgres import TestServer, query
from support.service import Running, ServiceProcess, wait_until_ready
from tools.local.waiting import until

RATE_PER_S = 400.0
LOAD_S = 0.9
FAULT_FROM_S, FAULT_TO_S = 0.15, 0.75
REQUEST_TIMEOUT_S = 1.5
OUTAGE_S = 2.0
"""Longer than a request may take: the service has to answer without knowing the outcome."""


class Machine:
    """A PostgreSQL of its own, because it gets killed, and the service as a process, for the same reason.

    One history goes with one database: a later round finds what an earlier one has lost, too.
    """

    def __init__(self, directory: Path, server: TestServer | None = None, **settings: Any) -> None:
        self.server = TestServer() if server is None else server
        self._settings = settings
        self._histories = (directory / f"history-{number}.jsonl" for number in itertools.count(1))
        self._running = ExitStack()
        self._service: ServiceProcess | None = None
        self.dsn = ""
        self.history: History
        self.numbers = itertools.count(1)

    def begin(self) -> None:
        """A fresh database, a service on it, and an empty history."""
        self.end()
        self.dsn, self.numbers = self.server.migrated(), itertools.count(1)
        self.history = self._running.enter_context(contextlib.closing(History(next(self._histories))))
        self.start_service()
        wait_until_ready(self.service)

    def start_service(self) -> None:
        """Starts the service, which need not find the database yet. The one before is dead."""
        self._service = self._running.enter_context(
            ServiceProcess(database_url=self.dsn, request_timeout_s=REQUEST_TIMEOUT_S, ready=False, **self._settings)
        )

    @property
    def service(self) -> ServiceProcess:
        """The running one."""
        assert self._service is not None
        return self._service

    def end(self) -> None:
        """Kills the service, closes the history."""
        if self._service is not None:
            self._service.kill()
        self._service = None
        self._running.pop_all().close()

    def close(self) -> None:
        """Ends everything."""
        self.end()
        self.server.close()


Fault = Callable[[Machine, random.Random], Coroutine[None, None, None]]
_M = TypeVar("_M", bound=Machine)


async def play(
    machine: _M, fault: Callable[[_M, random.Random], Coroutine[None, None, None]] | None, seed: int
) -> Verdict:
    """Plays the round and judges by the history's file and the database, nothing else."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    async with client_session() as http:
        meters = Meters(http, lambda: base_url(machine.service), machine.history, seed, machine.numbers)
        async with asyncio.TaskGroup() as both:
            both.create_task(meters.run(RATE_PER_S, LOAD_S))
            if fault is not None:
                await asyncio.sleep(chance.uniform(FAULT_FROM_S, FAULT_TO_S))  # the seeded moment, not a wait
                machine.history.fired(fault.__name__)
                both.create_task(fault(machine, chance))
        await asyncio.to_thread(wait_until_ready, machine.service)
        await meters.settle()
    assert meters.acknowledged, "nobody was told that anything is stored"
    machine.history.sync()
    return judge(events_in(machine.history.path), rows_of(machine.dsn))


def base_url(service: Running) -> str:
    """Where it listens: another port after each start."""
    host, port = service.address
    return f"http://{host}:{port}"


def rows_of(dsn: str) -> list[Row]:
    """Everything that is stored, when the database is back: a fault late in a round may not even be noticed by the service."""
    until(lambda: _answers(dsn), "the database to answer again")
    return [Row(*row) for row in query(dsn, "SELECT device_id, reading_id, value, read_at FROM readings")]


def _answers(dsn: str) -> bool:
    try:
        return bool(query(dsn, "SELECT 1"))
    except (OSError, asyncpg.CannotConnectNowError):
        return False


# ── faults ───────────────────────────────────────────────────────────────────────────────────────


async def service_killed(machine: Machine, _chance: random.Random) -> None:
    """SIGKILL for the service; it is started again at once."""
    killing.kill_service(machine.service)
    await asyncio.to_thread(machine.start_service)


async def postgres_killed(machine: Machine, _chance: random.Random) -> None:
    """SIGKILL for every process of PostgreSQL; it is started again at once."""
    await asyncio.to_thread(killing.kill_all_of, machine.server.postgres)
    await asyncio.to_thread(machine.server.postgres.start)


async def postgres_killed_for_long(machine: Machine, _chance: random.Random) -> None:
    """The same, and it stays away longer than requests wait."""
    await asyncio.to_thread(killing.kill_all_of, machine.server.postgres)
    await asyncio.sleep(OUTAGE_S)  # the length of the outage, not a wait
    await asyncio.to_thread(machine.server.postgres.start)


async def postmaster_killed(machine: Machine, _chance: random.Random) -> None:
    """SIGKILL for the postmaster; the backends end by themselves."""
    await asyncio.to_thread(killing.kill_postmaster_of, machine.server.postgres)
    await asyncio.to_thread(machine.server.postgres.start)


async def backend_killed(machine: Machine, chance: random.Random) -> None:
    """SIGKILL for one process of PostgreSQL; it recovers by itself."""
    await asyncio.to_thread(killing.kill_one_of, machine.server.postgres, chance)


async def both_killed(machine: Machine, _chance: random.Random) -> None:
    """SIGKILL for the service and of all of PostgreSQL, as when the machine goes."""
    killing.kill_service(machine.service)
    await asyncio.to_thread(killing.kill_all_of, machine.server.postgres)
    await asyncio.to_thread(machine.server.postgres.start)
    await asyncio.to_thread(machine.start_service)
