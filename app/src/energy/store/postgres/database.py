"""Connections to one database: pools, the server's dialect, and the check that COMMIT means committed there.

It exists so that nothing else knows how a connection is made. A database that cannot be reached is no error at start:
the service waits for it, unready, because in a cluster both start at once. An unsafe one is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from energy.store.ports import Interrupted, Poisoned, StoreError, Unavailable
from energy.store.postgres import statements

log = logging.getLogger(__name__)


_RELEASE_TIMEOUT_S = 0.5


class Dialect(StrEnum):
    """Which server answers."""

    POSTGRES = "postgres"
    COCKROACH = "cockroach"


_SESSION: dict[Dialect, dict[str, str]] = {
    # A generic plan that was cached while a month's table was empty scans it for every row: 45 times slower (docs/adr/0003).
    # JIT compilation costs more than any statement of ours takes.
    Dialect.POSTGRES: {"plan_cache_mode": "force_custom_plan", "jit": "off", "application_name": "energy"},
    Dialect.COCKROACH: {"plan_cache_mode": "force_custom_plan", "application_name": "energy"},
}

_GONE = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)
_UNREACHABLE = (
    *_GONE, TimeoutError, asyncpg.TooManyConnectionsError, asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError,
)  # fmt: skip
_TRY_AGAIN = (
    *_GONE, TimeoutError, asyncpg.SerializationError, asyncpg.DeadlockDetectedError,  # 40001, 40P01
    asyncpg.StatementCompletionUnknownError,  # 40003
    asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory: it may recover before the deadline
    asyncpg.ReadOnlySQLTransactionError,  # a replica that is about to be promoted
    asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError,  # the migration has not arrived yet
)  # fmt: skip


class UnsafeDatabase(Unavailable):
    """The server may lose what it has acknowledged."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one pool."""

    connections_max: int
    connect_timeout_s: float
    statement_cache_size: int


async def _keep_session(_connection: asyncpg.Connection) -> None:
    """Instead of the driver's reset query: no statement of ours changes the session, so a round trip is saved."""


class Database:
    """One server or cluster, named by its DSN. `connect` may be called again until it succeeds."""

    def __init__(self, dsn: str, limits: PoolLimits, *, allow_unsafe: bool = False) -> None:
        self.dsn = dsn
        self.dialect = Dialect.POSTGRES
        self._limits = limits
        self._allow_unsafe = allow_unsafe
        self._pool: asyncpg.Pool | None = None
        self._connecting = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether a pool exists; the server may be gone again."""
        return self._pool is not None

    @property
    def connections(self) -> tuple[int, int]:
        """Connections in use, and idle."""
        if self._pool is None:
            return 0, 0
        idle = self._pool.get_idle_size()
        return self._pool.get_size() - idle, idle

    async def connect(self) -> None:
        """Finds out what answers and opens the pool. Raises `Unavailable` or `UnsafeDatabase`."""
        async with self._connecting:
            if self._pool is not None:
                return
            try:
                first = await asyncpg.connect(self.dsn, timeout=self._limits.connect_timeout_s)
                try:
                    version = str(await first.fetchval(statements.VERSION, timeout=self._limits.connect_timeout_s))
                    self.dialect = Dialect.COCKROACH if "CockroachDB" in version else Dialect.POSTGRES
                    if self.dialect is Dialect.POSTGRES and not self._allow_unsafe:
                        await _refuse_unsafe(first)
                finally:
                    await first.close(timeout=self._limits.connect_timeout_s)
                self._pool = await asyncpg.create_pool(
                    self.dsn,
                    min_size=1,
                    max_size=self._limits.connections_max,
                    timeout=self._limits.connect_timeout_s,
                    statement_cache_size=self._limits.statement_cache_size,
                    server_settings=_SESSION[self.dialect],
                    reset=_keep_session,
                )
            except _UNREACHABLE as error:
                raise Unavailable(f"cannot connect to the database: {_plain(error)}") from error

    @contextlib.asynccontextmanager
    async def connection(self, timeout_s: float) -> AsyncIterator[asyncpg.Connection]:
        """A connection out of the pool. Raises `Unavailable` when there is none within `timeout_s`."""
        await self.connect()
        pool = self._pool
        if pool is None:
            raise Unavailable("the database connection is closed")
        try:
            connection = await pool.acquire(timeout=timeout_s)
        except _UNREACHABLE as error:
            raise Unavailable(f"no connection to the database: {_plain(error)}") from error
        try:
            yield connection
        finally:
            await _give_back(pool, connection)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Closes all connections, by force after `timeout_s`."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), timeout_s)
        except TimeoutError:
            self._pool.terminate()


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """Around statements: the driver's many errors become the protocol's three.

    What had been sent may have happened, so a lost connection is `Interrupted`; a complaint about a value is `Poisoned`.
    """
    try:
        yield
    except StoreError:
        raise
    except _TRY_AGAIN as error:
        raise Interrupted(_plain(error)) from error
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError) as error:
        raise Poisoned(_plain(error)) from error


async def _give_back(pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
    """Releases a connection. One whose last statement cannot even be cancelled is closed by the pool, not waited for.

    An error here must not hide the outcome of the statement: the reading may be stored.
    """
    try:
        await pool.release(connection, timeout=_RELEASE_TIMEOUT_S)
    except (TimeoutError, *_GONE) as error:
        log.info("a connection to the database was given up: %s", _plain(error))


async def _refuse_unsafe(connection: asyncpg.Connection) -> None:
    durability = await connection.fetchrow(statements.DURABILITY)
    off = [name for name in ("fsync", "synchronous_commit") if durability[name] == "off"]
    if off:
        raise UnsafeDatabase(
            f"the database answers but `{'` and `'.join(off)}` is off, so an acknowledged reading could be lost in a crash. "
            "Switch it on, or start with ENERGY_ALLOW_UNSAFE_DATABASE=true if you accept that."
        )


def _plain(error: BaseException) -> str:
    """The error in one line, without the DSN: drivers put neither password nor user into their messages."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
