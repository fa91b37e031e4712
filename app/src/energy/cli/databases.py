"""Which database a command works on: the one that is named, else the embedded one, started for as long as it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from energy.cli import stopping
from energy.service import database_of
from energy.settings import Settings
from energy.store import schema
from energy.store.embedded import EmbeddedPostgres
from energy.store.keeping import KeptRunning
from energy.store.ports import StoreError, Unavailable
from energy.store.postgres.database import Database, Dialect
from energy.store.postgres.readiness import SchemaWatch

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_LOST = {"connection", "starting", "shutdown", "timeout"}
"""Reasons of a database that was lost, and comes back where somebody starts it again."""
_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Target:
    """A database to work on. `kept`: it is our own."""

    dsn: str
    kept: KeptRunning | None = None

    async def prepare(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Does `work`, again if our own database dies meanwhile: it is started again, and the start has one deadline.

        Of somebody else's database it is said at once that it is away.
        """
        while True:
            try:
                return await work()
            except StoreError as error:
                if self.kept is None or error.reason not in _LOST:
                    raise
                self.kept.raise_if_gone(error)
                log.warning("the embedded database was lost; trying again: %s", error)
            await asyncio.sleep(_AGAIN_S)


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Target]:
    """The database. An embedded server is stopped afterwards, if nobody else uses it. Raises `EmbeddedUnavailable`."""
    if settings.database_url is not None:
        yield Target(settings.database_url.get_secret_value())
        return
    with KeptRunning(EmbeddedPostgres(settings.data_dir)) as kept:
        stopping.run(kept.started())
        yield Target(kept.dsn, kept)


@contextlib.contextmanager
def database_with_schema(settings: Settings) -> Iterator[str]:
    """As `opened`, with the schema of this version: our own database gets it, another has to have it.

    Raises `Unavailable` too, with what to do.
    """
    with opened(settings) as target:
        stopping.run(target.prepare(lambda: _ensure_schema(settings, target.dsn)))
        yield target.dsn


async def _ensure_schema(settings: Settings, dsn: str) -> None:
    async with connected(settings, dsn) as database:
        complaint = await SchemaWatch(
            database, schema.head(), settings.time_zone, asyncio.get_running_loop().time, patience_s=0
        ).complaint()
        if complaint is None:
            return
        if not migrates_at_start(settings):
            raise Unavailable(complaint)
        await migrate(settings, database)


@contextlib.asynccontextmanager
async def connected(settings: Settings, dsn: str) -> AsyncIterator[Database]:
    """The database for writing, reached and closed again. Raises `Unavailable` or `UnsafeDatabase`."""
    database = database_of(settings, dsn)
    try:
        await database.connect()
        yield database
    finally:
        await database.close()


async def migrate(settings: Settings, database: Database) -> str:
    """Brings its schema up to date, and returns the version. Raises `StoreError`."""
    from energy.store import migrations  # noqa: PLC0415 - takes as long to load as all the rest; see store/schema.py

    cockroach = database.dialect is Dialect.COCKROACH
    return await migrations.migrate(database.dsn, cockroach=cockroach, timeout_s=settings.database_connect_timeout_s)


def migrates_at_start(settings: Settings) -> bool:
    """Our own database is brought up to date by itself; somebody else's only when asked to."""
    return settings.migrate if settings.migrate is not None else settings.database_url is None
