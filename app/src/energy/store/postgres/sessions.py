"""How a session with the database is set up: what may be planned once, and what it must promise before it is used.

Settings are made by SET once the connection stands, not as start-up parameters, which PgBouncer refuses (docs/adr/0006).
Behind a pooler that hands out a server connection per transaction nothing outlives the transaction, so there each one
begins with its own `SET LOCAL`.
"""

from __future__ import annotations

import random
import socket
from enum import StrEnum
from typing import Any

import asyncpg

from energy.store.ports import Unavailable
from energy.store.postgres import statements

_PEER_SILENT_MAX_S = 4
"""A peer whose machine has vanished sends no goodbye; the kernel asks after it and gives it up within about this."""


class Dialect(StrEnum):
    """Which server answers."""

    POSTGRES = "postgres"
    COCKROACH = "cockroach"


class Plans(StrEnum):
    """Whether a statement's plan is kept.

    ONCE costs a small batch a quarter of the time, and is safe only in a session that cannot choose a sequential scan: a
    plan that was made while the month's table was empty would otherwise scan it for every row for ever (docs/adr/0003).
    EACH plans with the values at hand: better for thousands of rows, and for questions about a whole month.
    """

    ONCE = "once"
    EACH = "each"


PLANNED_ONCE_ROWS_MAX = 1_000
"""Larger batches are planned with their values: it costs them little. At this size both cost the same (docs/adr/0003)."""


def plans_for(rows: int) -> Plans:
    """How a batch of so many rows is planned."""
    return Plans.ONCE if rows <= PLANNED_ONCE_ROWS_MAX else Plans.EACH


_SCANS = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin")
_PLANS: dict[Dialect, dict[Plans, dict[str, str]]] = {
    Dialect.POSTGRES: {
        Plans.ONCE: {"plan_cache_mode": "force_generic_plan", **dict.fromkeys(_SCANS, "off")},
        Plans.EACH: {"plan_cache_mode": "force_custom_plan", **dict.fromkeys(_SCANS, "on")},
    },
    Dialect.COCKROACH: {plans: {"plan_cache_mode": "force_custom_plan"} for plans in Plans},
}
_ALWAYS: dict[Dialect, dict[str, str]] = {
    Dialect.POSTGRES: {"jit": "off"},  # compiling costs more than any statement of ours takes
    Dialect.COCKROACH: {},
}
START_UP = {"application_name": "energy"}
"""The one parameter that every pooler passes on."""


class UnsafeDatabase(Unavailable):
    """The server may lose what it has acknowledged."""


class ReadOnlyDatabase(Unavailable):
    """The server takes no writes: a standby, or a primary that was demoted."""


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg's classes are untyped
    """The driver's connection, with what is known of its session. `set_up` is called once, before its first use."""

    __slots__ = ("_settings", "plans", "retires_at")

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        self._settings: dict[str, str] = {}
        self.plans: Plans | None = None
        self.retires_at = float("inf")
        _notice_a_vanished_peer(transport.get_extra_info("socket"))

    async def set_up(self, dialect: Dialect, *, writes: bool, allow_unsafe: bool, pooled: bool) -> None:
        """Raises `UnsafeDatabase` or `ReadOnlyDatabase` when the session would not do."""
        self._settings = dict(_ALWAYS[dialect])
        if writes and dialect is Dialect.POSTGRES:
            async with self.transaction():  # behind a pooler: so that the answer is the one server's that was asked
                server = await self.fetchrow(statements.PROMISES)
            if server["read_only"] == "on":
                raise ReadOnlyDatabase("the database takes no writes now: a standby, or not promoted yet", "read_only")
            if not allow_unsafe:
                _refuse_unsafe({name: server[name] for name in ("fsync", "synchronous_commit")})
                # Kept as it was found: a later change of the server's default must not reach commits that are under way.
                self._settings["synchronous_commit"] = server["synchronous_commit"]
        await self.fetchrow(statements.ARRAYS)  # here, or the first reading would wait for two round trips more
        if not pooled:
            await self.execute(_set({**self._settings, **_PLANS[dialect][Plans.EACH]}))
            self.plans = Plans.EACH

    async def plan(self, dialect: Dialect, plans: Plans) -> None:
        """Switches between planning once and each time; a round trip, for when the last unit wanted the other."""
        await self.execute(_set(_PLANS[dialect][plans]))
        self.plans = plans

    async def begin(self, dialect: Dialect, plans: Plans, *, pooled: bool) -> None:
        """BEGIN; behind a pooler with all settings, in the same round trip."""
        await self.execute(
            f"BEGIN; {_set({**self._settings, **_PLANS[dialect][plans]}, local=True)}" if pooled else "BEGIN"
        )


def retirement(now: float, age_max_s: float) -> float:
    """When a connection made now has been used for long enough; spread, so that not all of them go at once."""
    return now + age_max_s * random.uniform(0.8, 1.0)  # noqa: S311 - to spread, not to be secret


def _refuse_unsafe(settings: dict[str, str]) -> None:
    wrong = [f"`{name}` is {value}" for name, value in settings.items() if value in ("off", "local")]
    if wrong:
        raise UnsafeDatabase(
            f"the database answers but {' and '.join(wrong)}, so an acknowledged reading could be lost in a crash. "
            "Switch it on, or start with ENERGY_ALLOW_UNSAFE_DATABASE=true if you accept that.",
            "unsafe",
        )


def _set(settings: dict[str, str], *, local: bool = False) -> str:
    return "; ".join(f"SET {'LOCAL ' if local else ''}{name} = {value}" for name, value in settings.items())


def _notice_a_vanished_peer(peer: socket.socket | None) -> None:
    if peer is None or peer.family == getattr(socket, "AF_UNIX", None) or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PEER_SILENT_MAX_S // 2)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PEER_SILENT_MAX_S * 1000)
