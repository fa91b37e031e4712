"""`energy serve` and `energy migrate`: a process from its first line to exit code 0.

How the server listens and stops is in `energy.server`.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import sys
import tempfile

import typer
from rich.console import Console

from energy import logs
from energy.cli import databases, stopping
from energy.cli.databases import Target, connected, migrates_at_start, opened
from energy.cli.stopping import Stopped, signals_are_noted
from energy.cli.workers import run_workers
from energy.http.auth import key_from_token
from energy.server import BACKLOG, Server, listening, loop_factory
from energy.service import Service
from energy.settings import AuthMode, Settings
from energy.store.ports import Unavailable
from energy.store.postgres.database import Database, UnsafeDatabase
from energy.store.postgres.keys import PostgresKeys
from energy.tracing import traced

log = logging.getLogger(__name__)

_GC_OBJECTS = 20_000
"""Requests make no cycles; looking for them every 700 objects costs a twentieth of the throughput."""
_DSN_VARIABLE = "ENERGY_DATABASE_URL"
_BOOTSTRAP = "bootstrap"
"""The note of the key that `migrate` makes: only such a key is given another secret."""


def serve(
    host: str | None = typer.Option(None, help="Address to listen on (ENERGY_HOST)."),
    port: int | None = typer.Option(None, help="Port to listen on (ENERGY_PORT)."),
    workers: int | None = typer.Option(None, help="Processes, for bare metal (ENERGY_WORKERS)."),
) -> None:
    """Run the service until SIGTERM; drains, then exits 0."""
    given = {"host": host, "port": port, "workers": workers}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # pydantic checks them
    logs.configure(settings.log_level, settings.log_format, access_log=settings.access_log)
    code = 0
    try:
        with listening(settings.host, settings.port) as listener, opened(settings) as target:
            stopping.run(_prepare(settings, target))
            _greet(settings, listener)
            code = (_run if settings.workers == 1 else _run_many)(settings, target.dsn, listener)
    except Stopped:
        log.info("stopped by a signal")
    sys.exit(code)


def migrate() -> None:
    """Bring the database's schema up to date, and make the bootstrap admin key if one is set."""
    settings = Settings()
    logs.configure(settings.log_level, settings.log_format, access_log=False)
    with opened(settings) as target:
        version = stopping.run(_migrate(settings, target))
    Console().print(f"The schema is at {version}.")


async def _prepare(settings: Settings, target: Target) -> None:
    """Raises `UnsafeDatabase` before anything listens. Somebody else's database that is away is looked at when it comes."""
    if migrates_at_start(settings):
        await _migrate(settings, target)
        return
    try:
        async with connected(settings, target.dsn):
            pass
    except UnsafeDatabase:
        raise
    except Unavailable as error:
        log.info("the database is not there yet: %s", error)


async def _migrate(settings: Settings, target: Target) -> str:
    async def bring_up_to_date() -> str:
        async with connected(settings, target.dsn) as database:
            version = await databases.migrate(settings, database)
            if settings.bootstrap_admin_key is not None:
                await _bootstrap(settings, database)
            return version

    return await target.prepare(bring_up_to_date)


async def _bootstrap(settings: Settings, database: Database) -> None:
    assert settings.bootstrap_admin_key is not None  # noqa: S101 - the caller's condition
    try:
        _, key = key_from_token(settings.bootstrap_admin_key.get_secret_value(), frozenset({"admin"}), None, None, None)
    except ValueError as error:
        raise typer.BadParameter(f"{error}", param_hint="ENERGY_BOOTSTRAP_ADMIN_KEY") from None
    keys = PostgresKeys(database, settings.database_connect_timeout_s)
    if await keys.create([(key, _BOOTSTRAP)]):
        log.info("the bootstrap admin key %s was made", key.key_id)
        return
    if await keys.replace(key, _BOOTSTRAP):  # a database that was there before the Secret: a cluster that was made anew
        log.warning("the bootstrap admin key %s has another secret now; the old one is refused", key.key_id)
        return
    found = (await keys.keys([key.key_id], settings.database_connect_timeout_s))[key.key_id]
    if found.secret_sha256 != key.secret_sha256:
        told = f"the key {key.key_id} was made otherwise, and keeps its secret. Choose another id"
        raise typer.BadParameter(told, param_hint="ENERGY_BOOTSTRAP_ADMIN_KEY")
    if found.revoked_at is not None:
        log.warning(
            "the bootstrap admin key %s is revoked and stays so; another secret makes it valid again", key.key_id
        )
    else:
        log.info("the bootstrap admin key %s is there already", key.key_id)


def _run(settings: Settings, dsn: str, listener: socket.socket) -> int:
    unsafe: list[UnsafeDatabase] = []

    async def run() -> None:
        def on_unsafe(error: UnsafeDatabase) -> None:
            unsafe.append(error)
            server.stop()

        service = Service(settings, dsn, on_unsafe=on_unsafe)
        app = traced(service.app, settings.otlp_endpoint) if settings.otlp_endpoint else service.app
        server = Server(app, settings, service)
        await server.serve(sockets=[listener])

    gc.collect()
    gc.freeze()  # what is loaded by now stays: the collector need not look at it again
    gc.set_threshold(_GC_OBJECTS, 20, 50)
    stopping.run(run(), loop_factory())
    if unsafe:
        raise unsafe[0]
    return 0


def _run_many(settings: Settings, dsn: str, listener: socket.socket) -> int:
    """Bare metal only: processes that share the listening socket and a directory of metrics."""
    os.environ[_DSN_VARIABLE] = dsn  # for the workers; they inherit the environment and are on this machine
    os.environ["ENERGY_WORKERS"] = "1"
    with tempfile.TemporaryDirectory(prefix="energy-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        return run_workers(settings.workers, _worker, listener)


def _worker(listener: socket.socket) -> None:
    settings = Settings()
    logs.configure(settings.log_level, settings.log_format, access_log=settings.access_log)
    assert settings.database_url is not None  # noqa: S101 - set by _run_many
    with signals_are_noted(), contextlib.suppress(Stopped):
        sys.exit(_run(settings, settings.database_url.get_secret_value(), listener))


def _greet(settings: Settings, listener: socket.socket) -> None:
    listener.listen(BACKLOG)  # from the greeting on nobody is refused
    host, port = listener.getsockname()[:2]
    auth = "without API keys (only this machine can reach it)" if settings.auth is AuthMode.OFF else "with API keys"
    where = (
        "its own PostgreSQL in " + str(settings.data_dir)
        if settings.database_url is None
        else "the database of ENERGY_DATABASE_URL"
    )
    Console(stderr=True, soft_wrap=True).print(
        f"energy listens on http://{host}:{port}, {auth}, on {where}. Documentation: http://{host}:{port}/docs",
        highlight=False,
    )
