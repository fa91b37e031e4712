"""Every fault of the database against every kind of request: an answer in time, the right one, its reason in the log, and back by itself.

A fault is begun once; while it lasts, all requests are sent at the same time, and what they were answered is kept. The tests
then look at one cell each, so a fault costs what its slowest request waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import psutil
import pytest

from energy.http.auth import new_key
from energy.ingest import committer
from energy.logs import Seldom
from energy.store.postgres.database import Database, PoolLimits
from energy.store.postgres.keys import PostgresKeys
from fault.killing import kill_all_of, postmaster_of
from fault.pair import Pair
from fault.pgbouncer import pgbouncer
from fault.proxy import Proxy
from support.postgres import TestServer, execute, query, run
from support.service import ServiceThread, client_of
from tools.local.waiting import until

REQUEST_TIMEOUT_S = 1.0
PATIENCE_S = 2.0
"""What an answer may come later: a look-up before it, and a busy machine."""
BACK_WITHIN_S = 2.0
BUSY_MACHINE_S = 2.0
SETTINGS: dict[str, Any] = {
    "request_timeout_s": REQUEST_TIMEOUT_S, "database_connect_timeout_s": 0.5, "auth": "keys", "key_cache_ttl_s": 0.5,
}  # fmt: skip
ROLE = "service"
READ_AT = "2026-11-20T00:00:00+00:00"


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


# ── the requests ─────────────────────────────────────────────────────────────────────────────────

Send = Callable[[httpx.Client, dict[str, Any]], httpx.Response]


def single(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/readings", json=body)


def ordered_value(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    value = {"device_id": body["device_id"], "value": body["value"]}
    return client.post("/v2/values", json=value, headers={"Idempotency-Key": body["reading_id"]})


def batch(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/readings/batch", json=[body])


def atomic_batch(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/readings/batch?atomic=true", json=[body])


def correction(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    wrong = body["wrong"]
    path = f"/v1/readings/{wrong['device_id']}/{wrong['reading_id']}/correction"
    return client.post(path, json={"value": 8, "reading_id": body["reading_id"]})


def history(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.get(f"/v1/devices/{body['wrong']['device_id']}/readings")


def progress(client: httpx.Client, _body: dict[str, Any]) -> httpx.Response:
    return client.get("/v1/progress?period=2026-11")


def export(client: httpx.Client, _body: dict[str, Any]) -> httpx.Response:
    return client.get("/v1/export?period=2026-11")


def readyz(client: httpx.Client, _body: dict[str, Any]) -> httpx.Response:
    return client.get("/readyz")


WRITES: dict[str, Send] = {
    "single": single, "v2": ordered_value, "batch": batch, "atomic": atomic_batch, "correction": correction,
    "new-key": single,
}  # fmt: skip
READS: dict[str, Send] = {"history": history, "progress": progress, "export": export}
REQUESTS: dict[str, Send] = {**WRITES, **READS, "readyz": readyz}


def a_reading() -> dict[str, Any]:
    return {"device_id": str(uuid4()), "reading_id": str(uuid4()), "value": 7, "read_at": READ_AT}


def send(case: Case, name: str, body: dict[str, Any], token: str) -> Answer:
    assert case.service is not None
    with client_of(case.service, headers={"Authorization": f"Bearer {token}"}) as client:
        started = time.monotonic()
        try:
            response = REQUESTS[name](client, body)
        except httpx.RemoteProtocolError:  # a stream has no other way to say that it is not whole
            return Answer(CUT_SHORT, "", time.monotonic() - started)
        took_s = time.monotonic() - started
    code = response.json().get("code", "") if "problem" in response.headers.get("content-type", "") else ""
    if name in WRITES and response.status_code in (200, 201):
        items = response.json().get("items", [{}])
        if all(item.get("status", 200) in (200, 201) for item in items):
            case.acknowledged.add(UUID(response.json().get("reading_id") or items[0]["reading_id"]))
    return Answer(response.status_code, code, took_s)


# ── the faults ───────────────────────────────────────────────────────────────────────────────────

Fault = Callable[[Case], AbstractContextManager[None]]


@contextmanager
def killed(case: Case) -> Iterator[None]:
    kill_all_of(case.server.postgres)
    try:
        yield
    finally:
        case.server.postgres.start()


@contextmanager
def frozen(case: Case) -> Iterator[None]:
    postmaster = postmaster_of(case.server.postgres)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


@contextmanager
def setting(case: Case, name: str, value: str, usual: str) -> Iterator[None]:
    def put(to: str) -> None:
        execute(case.server.dsn, f"ALTER SYSTEM SET {name} = '{to}'")
        execute(case.server.dsn, "SELECT pg_reload_conf()")
        until(lambda: query(case.server.dsn, f"SHOW {name}")[0][0] == to, f"{name} to be read")

    put(value)
    try:
        yield
    finally:
        put(usual)


def read_only(case: Case) -> AbstractContextManager[None]:
    return setting(case, "default_transaction_read_only", "on", "off")


def standby_gone(case: Case) -> AbstractContextManager[None]:
    return setting(case, "synchronous_standby_names", "ghost", "")


@contextmanager
def locked(case: Case) -> Iterator[None]:
    """Somebody migrates by hand, and goes to lunch in the middle of it."""
    release = threading.Event()
    holds = threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(case.dsn)
        await connection.execute("BEGIN; LOCK TABLE readings IN ACCESS EXCLUSIVE MODE")
        holds.set()
        await asyncio.to_thread(release.wait)
        await connection.close()

    holder = threading.Thread(target=lambda: run(hold()))
    holder.start()
    assert holds.wait(10)
    try:
        yield
    finally:
        release.set()
        holder.join()


@contextmanager
def lock_timeout(case: Case) -> Iterator[None]:
    execute(case.dsn, f"ALTER ROLE {ROLE} SET lock_timeout = '20ms'")
    _terminate(case)
    try:
        with locked(case):
            yield
    finally:
        execute(case.dsn, f"ALTER ROLE {ROLE} RESET lock_timeout")
        _terminate(case)


def _terminate(case: Case) -> None:
    execute(case.dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", ROLE)


@contextmanager
def backends_terminated(case: Case) -> Iterator[None]:
    """Again and again while it lasts: a pooler that reloads, an administrator who cleans up."""
    stop = threading.Event()

    def again() -> None:
        while not stop.is_set():
            _terminate(case)
            stop.wait(0.01)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def connections_exhausted(case: Case) -> Iterator[None]:
    execute(case.dsn, f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    _terminate(case)
    try:
        yield
    finally:
        execute(case.dsn, f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


@contextmanager
def privilege_missing(case: Case) -> Iterator[None]:
    execute(case.dsn, f"REVOKE INSERT ON readings FROM {ROLE}")
    try:
        yield
    finally:
        execute(case.dsn, f"GRANT INSERT ON readings TO {ROLE}")


@contextmanager
def behind_pgbouncer(_case: Case) -> Iterator[None]:
    """No fault: a pooler in transaction mode, which must make no difference."""
    yield


@contextmanager
def disk_full(case: Case) -> Iterator[None]:
    """The tables' file system has no room; the log's has."""
    small = case.settings["small"]
    filler = small / "filler"
    with filler.open("wb", buffering=0) as sink, contextlib.suppress(OSError):
        while sink.write(b"\0" * 4096):
            pass
    with contextlib.suppress(asyncpg.DiskFullError):  # the pages that are there already are filled up
        while True:
            execute(case.dsn, FILL)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def failed_over(case: Case) -> Iterator[None]:
    """The primary's machine is lost, its standby is promoted, and the name now leads there."""
    pair: Pair = case.settings["pair"]
    proxy: Proxy = case.settings["proxy"]
    kill_all_of(pair.primary.postgres)
    yield
    execute(pair.replica.dsn, "SELECT pg_promote()")
    proxy.lead_to(pair.replica.data_dir)
    case.stored_dsn = pair.replica_dsn(case.dsn)


@dataclass(frozen=True)
class Row:
    """One fault: what it does to writes and to reads, and the word that the log has for it."""

    fault: Fault
    writes: frozenset[int]
    reads: frozenset[int]
    reason: str | None
    slow: bool = False


FILL = """
INSERT INTO readings (device_id, reading_id, register, value, read_at, received_at, period, source, status, flags)
SELECT gen_random_uuid(), gen_random_uuid(), 'T0', 1, now(), now(), '2020-01-01', 'meter', 'accepted', ''
"""
CUT_SHORT = 0  # no status: an export that had begun ended without its last chunk, and the client sees that
STORED, REFUSED, EITHER = frozenset({200, 201}), frozenset({503}), frozenset({200, 201, 503})
MATRIX = {
    "killed": Row(killed, REFUSED, REFUSED, "could not be committed"),
    "frozen": Row(frozen, REFUSED, REFUSED, "could not be committed"),
    "read-only": Row(read_only, REFUSED, STORED, "read-only"),
    "standby-gone": Row(standby_gone, REFUSED, STORED, "could not be committed"),
    "locked": Row(locked, REFUSED, REFUSED, "could not be committed"),
    "lock-timeout": Row(lock_timeout, REFUSED, REFUSED, "55P03"),
    "terminated": Row(backends_terminated, EITHER, EITHER, None),
    "exhausted": Row(connections_exhausted, REFUSED, REFUSED, "53300"),
    "privilege": Row(privilege_missing, REFUSED, STORED, "42501"),
    "pgbouncer": Row(behind_pgbouncer, STORED, STORED, None),
    "disk-full": Row(disk_full, REFUSED, STORED, "53100", slow=True),
    "failed-over": Row(failed_over, REFUSED, REFUSED, "could not be committed", slow=True),
}


# ── one round of each ────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with contextlib.closing(TestServer()) as server:
        execute(server.dsn, f"CREATE ROLE {ROLE} LOGIN")
        yield server


FAULTS = [pytest.param(name, id=name, marks=[pytest.mark.slow] if row.slow else []) for name, row in MATRIX.items()]


@pytest.fixture(scope="module", params=FAULTS)
def case(request: pytest.FixtureRequest, server: TestServer) -> Iterator[tuple[str, Case]]:
    name: str = request.param
    with ExitStack() as running:
        case = _case_of(name, server, running)
        handler = _Keeping(case.log)
        logging.getLogger("energy").addHandler(handler)
        committer._seldom = Seldom(logging.getLogger(committer.__name__))
        try:
            _play(case, MATRIX[name])
            yield name, case
        finally:
            logging.getLogger("energy").removeHandler(handler)


class _Keeping(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _case_of(name: str, server: TestServer, running: ExitStack) -> Case:
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
        running.callback(lambda: pair.replica._ctl("-w", "-m", "immediate", "stop", check=False))
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
    owner = server.postgres._user
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


def _play(case: Case, row: Row) -> None:
    known, unseen = case.tokens
    wrong = {name: a_reading() for name in REQUESTS}
    for name in ("correction", "history"):
        assert send(case, "single", wrong[name], known).status == 201
    bodies = {name: {**a_reading(), "wrong": wrong[name]} for name in REQUESTS}
    for name in ("single", "v2", "batch", "new-key", "atomic"):
        del bodies[name]["wrong"]
    with row.fault(case), ThreadPoolExecutor(len(REQUESTS)) as pool:
        asked = {
            name: pool.submit(send, case, name, bodies[name], unseen if name == "new-key" else known)
            for name in REQUESTS
        }
        case.answers = {name: answer.result() for name, answer in asked.items()}
    began = time.monotonic()
    until(lambda: send(case, "single", a_reading(), known).status == 201, "the service to be back")
    case.back_s = time.monotonic() - began
    for name in WRITES:
        until(lambda name=name: send(case, name, bodies[name], known).status in (200, 201), f"{name} to be settled")  # type: ignore[misc]


# ── the cells ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_meets_the_fault_and_has_its_answer_in_time(case: tuple[str, Case], name: str) -> None:
    fault, played = case
    row, answer = MATRIX[fault], played.answers[name]
    allowed = STORED if name == "readyz" else row.writes if name in WRITES else row.reads
    if name == "export" and row.reads >= REFUSED:
        allowed |= {CUT_SHORT}
    assert answer.status in allowed, answer
    assert answer.code in ("", "database_unavailable", "outcome_unknown"), answer
    assert answer.took_s < REQUEST_TIMEOUT_S + PATIENCE_S, answer


def test_the_service_is_back_by_itself_and_soon(case: tuple[str, Case]) -> None:
    assert case[1].back_s < BACK_WITHIN_S + BUSY_MACHINE_S


def test_everything_that_was_acknowledged_is_stored_once(case: tuple[str, Case]) -> None:
    played = case[1]
    stored = [row[0] for row in query(played.stored_dsn, "SELECT reading_id FROM readings")]
    assert len(stored) == len(set(stored))
    assert played.acknowledged <= set(stored)


def test_the_log_says_why(case: tuple[str, Case]) -> None:
    fault, played = case
    reason = MATRIX[fault].reason
    assert reason is None or any(reason in line for line in played.log), played.log
