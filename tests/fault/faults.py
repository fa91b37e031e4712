"""The faults of a database: each begins on entering and ends on leaving, and leaves the database usable.

A fault is a context manager over a case (case.py). It knows nothing of requests, answers or what is allowed (test_matrix.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import asyncpg
import psutil

from fault.case import ROLE, Case
from fault.killing import kill_all_of, postmaster_of
from fault.pair import Pair
from fault.proxy import Proxy
from support.postgres import execute, query, run
from tools.local.waiting import until

FILL = """
INSERT INTO readings (device_id, reading_id, register, value, read_at, received_at, period, source, status, flags)
SELECT gen_random_uuid(), gen_random_uuid(), 'T0', 1, now(), now(), '2020-01-01', 'meter', 'accepted', ''
"""

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
