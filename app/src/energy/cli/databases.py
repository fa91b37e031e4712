"""Which database a command works on: the one that is named, else the embedded one, started for as long as it is needed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from energy.service import database_of
from energy.settings import Settings
from energy.store import schema
from energy.store.embedded import EmbeddedPostgres
from energy.store.ports import Unavailable
from energy.store.postgres.database import Dialect
from energy.store.postgres.readiness import SchemaWatch


@contextlib.contextmanager
def database_dsn(settings: Settings) -> Iterator[str]:
    """The DSN. An embedded server that was not running before is stopped afterwards. Raises `EmbeddedUnavailable`."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    server = EmbeddedPostgres(settings.data_dir)
    server.start()
    try:
        with server.kept_running():
            yield server.dsn
    finally:
        if server.started:
            server.stop()


@contextlib.contextmanager
def database_with_schema(settings: Settings) -> Iterator[str]:
    """As `database_dsn`, with the schema of this version: our own database gets it, another has to have it.

    Raises `Unavailable` too, with what to do.
    """
    with database_dsn(settings) as dsn:
        asyncio.run(_ensure_schema(settings, dsn))
        yield dsn


async def _ensure_schema(settings: Settings, dsn: str) -> None:
    database = database_of(settings, dsn)
    try:
        await database.connect()
        complaint = await SchemaWatch(
            database, schema.head(), settings.time_zone, asyncio.get_running_loop().time, patience_s=0
        ).complaint()
        cockroach = database.dialect is Dialect.COCKROACH
    finally:
        await database.close()
    if complaint is None:
        return
    if not migrates_at_start(settings):
        raise Unavailable(complaint)
    from energy.store import migrations  # noqa: PLC0415 - takes as long to load as all the rest; see store/schema.py

    await migrations.migrate(dsn, cockroach=cockroach, timeout_s=settings.database_connect_timeout_s)


def migrates_at_start(settings: Settings) -> bool:
    """Our own database is brought up to date by itself; somebody else's only when asked to."""
    return settings.migrate if settings.migrate is not None else settings.database_url is None
