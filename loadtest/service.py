"""An instance of our own to load: one PostgreSQL, N processes of the service, nothing shared with `make run`.

The database belongs to the lab and not to the processes, so it can still be asked when a run has killed them all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest import commands
from tools.local.postgres import Postgres
from tools.local.service import ENERGY, ServiceProcess


@dataclass(frozen=True, slots=True)
class Instance:
    """Where it listens and where its rows are."""

    base_urls: tuple[str, ...]
    database_url: str
    pids: tuple[int, ...]


@contextmanager
def instance(
    replicas: int, strategy: str, logs: Path, database_url: str = "", more: Sequence[str] = ()
) -> Iterator[Instance]:
    """Starts it, migrated and ready; stops it and removes its data afterwards. `more`: ENERGY_NAME=value settings."""
    with ExitStack() as stack:
        database_url = database_url or stack.enter_context(Postgres("-c max_connections=300")).dsn
        common = {
            **os.environ,
            "ENERGY_AUTH": "off",
            "ENERGY_PORT": "0",
            "ENERGY_DATABASE_URL": database_url,
            "ENERGY_WRITE_STRATEGY": strategy,
        }
        common |= dict(pair.split("=", 1) for pair in more)
        commands.run(ENERGY, "migrate", env=common)
        started = [stack.enter_context(ServiceProcess(common, logs / f"service-{n}.log")) for n in range(replicas)]
        yield Instance(
            tuple(service.base for service in started), database_url, tuple(service.process.pid for service in started)
        )
