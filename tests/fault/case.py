"""A database of a case of the fault matrix, the service on it, and what both went through.

Each case is built from a clean, migrated database; what a fault needs more (a standby, a pooler, a small disk) is built with it.
It knows nothing of the requests that are sent (test_matrix.py) or of how a fault is made (faults.py).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from energy.http.auth import new_key
from energy.store.postgres.database import Database, PoolLimits
from energy.store.postgres.keys import PostgresKeys
from fault.pair import Pair
from fault.pgbouncer import pgbouncer
from fault.proxy import Proxy
from support.postgres import TestServer, execute, run
from support.service import ServiceThread

REQUEST_TIMEOUT_S = 1.0
SETTINGS: dict[str, Any] = {
    "request_timeout_s": REQUEST_TIMEOUT_S, "database_connect_timeout_s": 0.5, "auth": "keys", "key_cache_ttl_s": 0.5,
}  # fmt: skip
ROLE = "service"


@dataclass
class Answer:
    """What one request heard, and how long it waited."""

    status: int
    code: str
    took_s: float


@dataclass
class Case:
    """A database with a service on it, and what both went through."""

    server: TestServer
    dsn: str
    running: ExitStack
    settings: dict[str, Any] = field(default_factory=dict)
    service: ServiceThread | None = None
    service_dsn: str = ""
    stored_dsn: str = ""
    tokens: list[str] = field(default_factory=list)
    old: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    unsettled: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    acknowledged: set[UUID] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    back_s: float = float("inf")


def case_of(name: str, server: TestServer, running: ExitStack) -> Case:
    settings: dict[str, Any] = {}
    if name == "disk-full":
        dsn = server.dsn_of(_on_small_disk(server, running, settings))
    elif name == "failed-over":
        server = running.enter_context(contextlib.closing(TestServer()))
        execute(server.dsn, f"CREATE ROLE {ROLE} LOGIN")
        dsn = server.migrated()
    else:
        dsn = server.migrated()
    execute(dsn, f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {ROLE}")
    case = Case(server, dsn, running, settings, service_dsn=dsn.replace("postgres@", f"{ROLE}@"), stored_dsn=dsn)
    if name == "failed-over":
        pair = settings["pair"] = Pair(server)
        running.callback(lambda: pair.replica.stop(signal.SIGQUIT))
        proxy = settings["proxy"] = running.enter_context(Proxy(server.postgres.data_dir))
        case.service_dsn = proxy.dsn(dsn).replace("postgres@", f"{ROLE}@")
    more: dict[str, Any] = {}
    if name == "pgbouncer":
        port = running.enter_context(pgbouncer(server, ROLE))
        database = dsn.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
        case.service_dsn = f"postgresql://{ROLE}@127.0.0.1:{port}/{database}?sslmode=disable"
        more["statement_cache_size"] = 0
    case.tokens = _keys_in(dsn)
    case.service = running.enter_context(ServiceThread(case.service_dsn, **SETTINGS, **more))
    return case


def _on_small_disk(server: TestServer, running: ExitStack, settings: dict[str, Any]) -> str:
    owner = server.postgres.programs.user
    if os.geteuid() != 0 or owner is None:
        pytest.skip("needs root, to mount a small file system")
    folder = Path(tempfile.mkdtemp(prefix="energy-small-", dir=server.home))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    running.callback(lambda: subprocess.run(["umount", "--lazy", folder], check=True))
    tables = folder / "tables"
    tables.mkdir(mode=0o700)
    shutil.chown(tables, owner)
    settings["small"] = folder
    server.migrated()
    template = server._template
    assert template is not None
    execute(server.dsn, f"CREATE TABLESPACE small LOCATION '{tables}'")
    execute(server.dsn, f"CREATE DATABASE on_small_disk TEMPLATE {template} TABLESPACE small")
    running.callback(lambda: execute(server.dsn, "DROP TABLESPACE small"))
    running.callback(lambda: execute(server.dsn, "DROP DATABASE on_small_disk WITH (FORCE)"))
    return "on_small_disk"


def _keys_in(dsn: str) -> list[str]:
    async def make() -> list[str]:
        database = Database(dsn, PoolLimits(1, 5, 0))
        keys = PostgresKeys(database, 5)
        made = [new_key(frozenset({"admin"}), None, None, None) for _ in range(2)]
        for _, key in made:
            await keys.create([(key, "")])
        await database.close()
        return [token for token, _ in made]

    return run(make())
