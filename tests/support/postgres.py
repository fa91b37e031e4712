"""A PostgreSQL of the session, with as many fresh databases as there are tests that want one.

Databases are copies of a migrated template, so one costs a tenth of a second and no test sees another's rows.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from energy.store import migrations
from tools.local.postgres import Postgres

_T = TypeVar("_T")

OPTIONS = ("-c max_connections=300", "-c shared_buffers=64MB")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Runs a coroutine to its end, also where an event loop is running already (in an async test)."""
    result: list[_T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class TestServer(Postgres):
    """A server with as many fresh databases as are asked for."""

    __test__ = False

    def __init__(self, *options: str, parent: Path | None = None) -> None:
        super().__init__(*OPTIONS, *options, parent=parent)
        self._numbers = itertools.count(1)
        self._template: str | None = None

    @property
    def bin(self) -> Path:
        """Where PostgreSQL's programs are."""
        return self.postgres.programs.bin

    def dsn_of(self, database: str) -> str:
        """How to reach one of its databases."""
        return self.dsn.replace("/postgres?", f"/{database}?")

    def empty(self) -> str:
        """The DSN of a new database without a schema."""
        return self._create("template0")

    def migrated(self) -> str:
        """The DSN of a new database with the schema, and nothing in it."""
        if self._template is None:
            dsn = self.empty()
            run(migrations.migrate(dsn, cockroach=False, timeout_s=10))
            self._template = dsn.split("?")[0].rsplit("/", 1)[1]
        return self._create(self._template)

    def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        execute(self.dsn, f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.dsn_of(name)


def query(dsn: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    """The rows of one statement, on a connection of its own."""

    async def ask() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        finally:
            await connection.close()
        return rows

    return run(ask())


def execute(dsn: str, sql: str, *arguments: object) -> None:
    """Runs one statement on a connection of its own."""
    query(dsn, sql, *arguments)


def count(dsn: str, table: str = "readings") -> int:
    """How many rows there are."""
    return int(query(dsn, f"SELECT count(*) AS n FROM {table}")[0]["n"])  # noqa: S608 - a test's own table name


@contextmanager
def locked_readings(dsn: str) -> Iterator[Callable[[], None]]:
    """Nobody can write a reading until the function that is given is called."""
    unlocked, locked = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            await connection.execute("LOCK TABLE readings")
            locked.set()
            await asyncio.to_thread(unlocked.wait)
        await connection.close()

    holding = threading.Thread(target=run, args=(hold(),))
    holding.start()
    assert locked.wait(10), "the table could not be locked"
    try:
        yield unlocked.set
    finally:
        unlocked.set()
        holding.join()
