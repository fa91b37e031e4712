"""What the driver's many errors mean for a caller: the three of the port, a reason, and whether the connection is still good.

One table by SQLSTATE, longest prefix first. The rule behind it: a server that reports an error has undone the whole
statement, so the rows are certainly not stored; a lost connection, a shutdown or an internal error says nothing of them.
What the table does not know is taken for the latter: an error that is not known to be about a row never costs a client more
than a repeat.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncpg

from energy.store.ports import Interrupted, Poisoned, StoreError, Unavailable


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of one SQLSTATE or a class of them. `healthy`: the session can be used again after a ROLLBACK."""

    kind: type[StoreError]
    reason: str
    healthy: bool = False


_UNKNOWN = Meaning(Interrupted, "other")
_CONNECTION = Meaning(Interrupted, "connection")
_BY_SQLSTATE: dict[str, Meaning] = {
    "08": _CONNECTION,
    "0A000": Meaning(Unavailable, "schema"),  # a cached plan whose table has changed
    "22": Meaning(Poisoned, "row", healthy=True),
    "23": Meaning(Poisoned, "row", healthy=True),
    "25006": Meaning(Unavailable, "read_only"),  # a server that was primary once, or will be
    "25": Meaning(Unavailable, "transaction"),
    "28": Meaning(Unavailable, "refused"),
    "3D": Meaning(Unavailable, "refused"),
    "40": Meaning(Unavailable, "serialization", healthy=True),
    "40003": Meaning(Interrupted, "ambiguous"),  # CockroachDB: the COMMIT's own answer was lost
    "42": Meaning(Unavailable, "schema"),  # the migration has not arrived yet
    "42501": Meaning(Unavailable, "privilege"),
    "53": Meaning(Unavailable, "resources"),  # disk, memory, connections: may pass before the deadline
    "55": Meaning(Unavailable, "locked", healthy=True),  # lock_timeout
    "57": Meaning(Interrupted, "shutdown"),  # may cut off the wait for a standby, behind the local COMMIT
    "57014": Meaning(Unavailable, "canceled", healthy=True),
    "57P03": Meaning(Unavailable, "starting"),
    "P0": Meaning(Poisoned, "row", healthy=True),  # a trigger's RAISE
}


def meaning_of(error: BaseException) -> Meaning | None:
    """What an error of the driver or the network means; nothing for an error that is not theirs."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or ""
        known = (_BY_SQLSTATE[sqlstate[:length]] for length in (5, 2) if sqlstate[:length] in _BY_SQLSTATE)
        return next(known, _UNKNOWN)
    if isinstance(error, TimeoutError):
        return Meaning(Interrupted, "timeout", healthy=True)
    if isinstance(error, asyncio.CancelledError):
        return Meaning(Interrupted, "canceled", healthy=True)
    if isinstance(error, (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return _CONNECTION
    return None


def unreachable(error: BaseException) -> Unavailable:
    """The same before anything was sent: certainly not stored, whatever it was."""
    found = meaning_of(error) or _UNKNOWN
    return Unavailable(f"no connection to the database: {plain(error)}", found.reason)


def plain(error: BaseException) -> str:
    """The error in one line with its SQLSTATE, without the DSN: drivers put neither password nor user into their messages."""
    text = str(error).strip() or type(error).__name__
    sqlstate = getattr(error, "sqlstate", None)
    return f"{text.splitlines()[0]} ({sqlstate})" if sqlstate else text.splitlines()[0]
