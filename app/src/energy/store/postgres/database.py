"""Connections to one database, and the only way to use one: a unit of work with a deadline.

Everything that waits for the database (a free connection, a new one, BEGIN, statements, COMMIT) waits inside one unit, under
one time-out, and what a connection is worth afterwards is decided in the same place. No other module may import the driver,
so nothing can await the database without a deadline (.importlinter).

A database that cannot be reached is no error at start: the service waits for it, because in a cluster both start at once. An
unsafe one is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from energy import metrics
from energy.store.ports import Interrupted, StoreError, Unavailable
from energy.store.postgres import statements
from energy.store.postgres.errors import meaning_of, plain, unreachable
from energy.store.postgres.sessions import START_UP, Connection, Dialect, Plans, UnsafeDatabase, plans_for, retirement

__all__ = ["Database", "Dialect", "Plans", "PoolLimits", "Session", "UnsafeDatabase", "plans_for"]

log = logging.getLogger(__name__)

_WIND_UP_S = 0.5
"""For a connection whose unit was cut off: to cancel its statement and roll back. After that it is thrown away."""
_STANDBY_WAIT = "SyncRepWaitForLSN"
"""PostgreSQL's own function that waits for a standby, and warns when somebody ends the wait: the COMMIT succeeds all the same."""

Listener = Callable[[object, asyncpg.PostgresLogMessage], None]
Row = Mapping[str, Any]
"""The driver's record: untyped by nature, given types in rows.py."""


class Session(Protocol):
    """What a unit of work may do. No time-out of its own: the unit has one."""

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        """All rows."""

    async def fetchrow(self, sql: str, *arguments: object) -> Row | None:
        """The first row."""

    async def execute(self, sql: str, *arguments: object) -> str:
        """The command's tag, such as `UPDATE 1`."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one pool. `statement_cache_size=0`: behind a pooler that lends a server connection per transaction."""

    connections_max: int
    connect_timeout_s: float
    statement_cache_size: int
    age_max_s: float = 900.0


async def _keep_session(_connection: asyncpg.Connection) -> None:
    """Instead of the driver's reset query: no statement of ours changes the session, so a round trip is saved."""


class Database:
    """One server or cluster, named by its DSN. `writes`: a server that takes none is refused, connection by connection."""

    def __init__(
        self, dsn: str, limits: PoolLimits, *, writes: bool = True, allow_unsafe: bool = False, name: str = "write"
    ) -> None:
        self.dsn = dsn
        self.dialect = Dialect.POSTGRES
        self._limits = limits
        self._writes = writes
        self._allow_unsafe = allow_unsafe
        self._pooled = limits.statement_cache_size == 0
        self._waits = metrics.CONNECTION_WAIT_SECONDS.labels(name)
        self._pool: asyncpg.Pool | None = None
        self._opening: asyncio.Task[None] | None = None
        self._winding_up: set[asyncio.Task[None]] = set()

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
        """Finds out what answers and opens the pool. Raises `Unavailable` or `UnsafeDatabase`.

        There is one attempt at a time, whoever asks: all who wait share it, and may stop waiting.
        """
        if self._pool is not None:
            return
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(), name="connect")
            self._opening.add_done_callback(lambda attempt: attempt.cancelled() or attempt.exception())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        timeout_s = self._limits.connect_timeout_s
        try:
            async with asyncio.timeout(2 * timeout_s):
                first = await asyncpg.connect(self.dsn, timeout=timeout_s, statement_cache_size=0)
                try:
                    async with first.transaction():  # behind a pooler: Parse and Execute reach one server
                        version = str(await first.fetchval(statements.VERSION))
                finally:
                    await first.close()
                self.dialect = Dialect.COCKROACH if "CockroachDB" in version else Dialect.POSTGRES
                pool = asyncpg.create_pool(
                    self.dsn,
                    min_size=0,
                    max_size=self._limits.connections_max,
                    timeout=timeout_s,
                    statement_cache_size=self._limits.statement_cache_size,
                    connection_class=Connection,
                    server_settings=START_UP,
                    init=self._set_up,
                    reset=_keep_session,
                )
                await pool
                await pool.release(await pool.acquire())  # what a new session must promise is looked at now
                self._pool = pool
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise unreachable(error) from error

    async def _set_up(self, connection: Connection) -> None:
        await connection.set_up(self.dialect, writes=self._writes, allow_unsafe=self._allow_unsafe, pooled=self._pooled)
        connection.retires_at = retirement(asyncio.get_running_loop().time(), self._limits.age_max_s)

    @contextlib.asynccontextmanager
    async def work(
        self, within_s: float, *, together: bool = False, plans: Plans = Plans.EACH
    ) -> AsyncIterator[Session]:
        """A unit of work: from waiting for a connection to the last COMMIT within `within_s`, then it is cut off.

        With `together` in one transaction, committed at the end; without, each statement is its own. Raises `Unavailable`
        when it is certain that nothing was stored, `Interrupted` when it is not, `Poisoned` when a row is at fault.
        """
        connection: Connection | None = None
        warnings: list[str] = []

        def listen(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
            if message.server_source_function == _STANDBY_WAIT:
                warnings.append(message.message)

        together = together or self._pooled
        try:
            async with asyncio.timeout(within_s):
                connection = await self._acquire()
                connection.add_log_listener(listen)
                if together:
                    await connection.begin(self.dialect, plans, pooled=self._pooled)
                elif connection.plans is not plans:
                    await connection.plan(self.dialect, plans)
                yield connection
                if together:
                    await connection.execute("COMMIT")
                _refuse_if_cut_short(warnings)
        except BaseException as error:
            meaning = meaning_of(error)
            if connection is None:
                if meaning is None or isinstance(error, (StoreError, asyncio.CancelledError)):
                    raise
                raise unreachable(error) from error
            self._wind_up(connection, listen, healthy=meaning is None or meaning.healthy)
            if meaning is None or isinstance(error, asyncio.CancelledError):
                raise
            raise meaning.kind(plain(error), meaning.reason) from error
        await self._give_back(connection, listen)

    async def _acquire(self) -> Connection:
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._pool is None:
            await self.connect()
        if self._pool is None:
            raise Unavailable("the database connection is closed", "closed")
        connection: Connection = await self._pool.acquire()
        self._waits.observe(loop.time() - began)
        return connection

    async def _give_back(self, connection: Connection, listen: Listener) -> None:
        with contextlib.suppress(asyncpg.InterfaceError):
            connection.remove_log_listener(listen)
        if asyncio.get_running_loop().time() > connection.retires_at:
            self._in_background(self._retire(connection))
        elif self._pool is not None:
            with contextlib.suppress(OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
                # An error here must not hide the outcome: the pool throws the connection away by itself.
                await self._pool.release(connection, timeout=_WIND_UP_S)

    def _wind_up(self, connection: Connection, listen: Listener, *, healthy: bool) -> None:
        """Of a unit that ended in an error. Not waited for: whoever waits for the answer has waited long enough."""
        with contextlib.suppress(asyncpg.InterfaceError):  # it has ended by itself, and the pool has noticed
            connection.remove_log_listener(listen)
            if healthy and self._pool is not None:
                self._in_background(self._roll_back(self._pool, connection))
            else:
                connection.terminate()

    async def _roll_back(self, pool: asyncpg.Pool, connection: Connection) -> None:
        """Keeps the connection if it answers. A statement that still runs is cancelled: its server must not wait for ever."""
        try:
            async with asyncio.timeout(_WIND_UP_S):
                await connection.execute("ROLLBACK")  # the driver sends it when the cancellation is through
                await pool.release(connection)
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError) as error:
            log.info("a connection to the database was given up: %s", plain(error))
            with contextlib.suppress(asyncpg.InterfaceError):
                connection.terminate()

    async def _retire(self, connection: Connection) -> None:
        with contextlib.suppress(OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
            await connection.close(timeout=_WIND_UP_S)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="wind-up")
        self._winding_up.add(task)
        task.add_done_callback(self._winding_up.discard)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Closes all connections, by force after `timeout_s`."""
        if self._opening is not None:
            self._opening.cancel()
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*self._winding_up, return_exceptions=True)
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


def _refuse_if_cut_short(warnings: list[str]) -> None:
    """Somebody ended the wait for the standby (`pg_cancel_backend`): what is committed here may be nowhere else."""
    if warnings:
        raise Interrupted(f"the commit did not wait for the standby: {warnings[0]}", "standby")
