"""The schema and its steps: one DDL statement a step, so that each either happened or didn't, on CockroachDB too.

Two replicas may migrate at once without advisory locks (CockroachDB has none): a step and its version row are one
transaction, the one who comes second fails, looks at the version again and goes on from there.
"""

from __future__ import annotations

import asyncio
import io
import logging
from pathlib import Path

import asyncpg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from energy.store.ports import Interrupted
from energy.store.postgres.errors import meaning_of, plain

log = logging.getLogger(__name__)

ATTEMPTS_MAX = 30
PAUSE_S = 0.3
STUCK_AFTER = 3
LOCK_TIMEOUT_S = 1
_LOCK_NOT_AVAILABLE = "55P03"
_ERRORS = (DBAPIError, CommandError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent))


def head() -> str:
    """The schema version that this code needs."""
    found = _scripts().get_current_head()
    if found is None:
        raise RuntimeError("the package has lost its migrations")
    return found


async def migrate(dsn: str, *, cockroach: bool, timeout_s: float) -> str:
    """Brings the schema to `head()`, and returns what it is then. Raises `StoreError` when a step fails for good.

    A newer schema is left as it is: after a rollback the older program runs on it, and steps only add.
    """
    engine = create_async_engine(
        "cockroachdb+asyncpg://" if cockroach else "postgresql+asyncpg://",
        async_creator=lambda: _connected(dsn, timeout_s),
        poolclass=NullPool,
    )
    try:
        return await _migrate(engine)
    except _ERRORS as error:
        cause = _cause(error)
        reason = meaning.reason if (meaning := meaning_of(cause)) else "other"
        raise Interrupted(
            f"the migration broke off, and goes on when it is started again: {plain(cause)}", reason
        ) from error


async def _migrate(engine: AsyncEngine) -> str:
    version_before: str | None = "unknown"
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            async with engine.connect() as connection:
                found = await connection.run_sync(_version)
            if found and found > head():
                log.warning("the schema is at %s, newer than this program's %s: nothing to do", found, head())
                return found
            async with engine.connect() as connection:
                await connection.run_sync(_upgrade)
            return head()
        except (DBAPIError, CommandError, asyncpg.PostgresError) as error:
            async with engine.connect() as connection:
                version = await connection.run_sync(_version)
            if version == head():
                return version
            waits = getattr(_cause(error), "sqlstate", None) == _LOCK_NOT_AVAILABLE
            if attempt == ATTEMPTS_MAX or (version == version_before and attempt > STUCK_AFTER and not waits):
                raise
            why = "a table is in use" if waits else "another replica is migrating too"
            log.info("%s (schema is at %s), trying again: %s", why, version, type(error).__name__)
            version_before = version
            await asyncio.sleep(PAUSE_S)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _cause(error: BaseException) -> BaseException:
    """The driver's own error."""
    return (error.orig and error.orig.__cause__) or error if isinstance(error, DBAPIError) else error


async def _connected(dsn: str, timeout_s: float) -> asyncpg.Connection:
    """A step that waits for a table's lock holds up all who come after it, so it gives up soon and tries again."""
    connection = await asyncpg.connect(dsn, timeout=timeout_s, statement_cache_size=0)
    await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
    return connection


def _upgrade(connection: Connection) -> None:
    scripts = _scripts()
    with EnvironmentContext(
        Config(),
        scripts,
        fn=lambda revision, _context: scripts._upgrade_revs("head", revision),  # noqa: SLF001 - alembic's own documented pattern for fn
    ) as environment:
        environment.configure(connection=connection, transaction_per_migration=True)
        with environment.begin_transaction():
            environment.run_migrations()


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def offline_sql() -> str:
    """All steps as SQL text, as they would be sent; for reviewing and for CockroachDB's parser."""
    scripts, output = _scripts(), io.StringIO()
    with EnvironmentContext(
        Config(),
        scripts,
        as_sql=True,
        fn=lambda revision, _context: scripts._upgrade_revs("head", revision),  # noqa: SLF001 - as above
    ) as environment:
        environment.configure(dialect_name="postgresql", output_buffer=output, transaction_per_migration=True)
        with environment.begin_transaction():
            environment.run_migrations()
    return output.getvalue()
