"""What a reading is, and what can become of one.

The values here travel through the whole service, so they know nothing of HTTP, queues or SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import msgspec

REGISTERS = ("T0", "T1", "T2", "T3")
"""Registers of a meter: T0 is the total, T1-T3 are the tariff zones (day, night, half-peak)."""

VALUE_MAX = Decimal("999999999.999")
"""The largest value a reading can carry: numeric(12,3)."""


class Flag(StrEnum):
    """Why a stored reading deserves a second look (validation, in the words of meter data management)."""

    UNMATCHED = "unmatched"
    LESS_THAN_PREVIOUS = "less_than_previous"
    SPIKE = "spike"
    ROLLOVER = "rollover"
    SAME_TIME = "same_time"
    BEYOND_COUNTER = "beyond_counter"
    FUTURE = "future"
    OUT_OF_WINDOW = "out_of_window"
    AFTER_REMOVAL = "after_removal"
    MORE_THAN_NEXT = "more_than_next"
    """Only ever asked about: what is stored is the next reading's own flag."""


AGAINST_PREVIOUS = frozenset({Flag.LESS_THAN_PREVIOUS, Flag.SPIKE, Flag.ROLLOVER, Flag.SAME_TIME})
"""Flags that depend on the reading before: they are judged again when another one takes its place."""

NEEDS_CONFIRMATION = AGAINST_PREVIOUS | {Flag.BEYOND_COUNTER, Flag.FUTURE, Flag.AFTER_REMOVAL, Flag.MORE_THAN_NEXT}
"""Flags that a person is asked about before the reading is stored: a slipped decimal point makes a bill a hundred
times too big. A meter is never asked: its reading is stored with the flag."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One reading on its way in. `value` is decimal text with at most three places, kWh or the register's own unit.

    A Struct is made in a twentieth of a frozen dataclass's time, and every request makes one.
    """

    device_id: UUID
    reading_id: UUID
    register: str
    value: str
    read_at: datetime
    received_at: datetime
    source: str
    by_person: bool = False
    confirmed: bool = False
    read_at_given: bool = True
    supersedes: UUID | None = None
    key_id: str = ""
    """The API key that sent it; empty when keys are off, and for an import."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A reading as the database has it."""

    device_id: UUID
    reading_id: UUID
    register: str
    value: Decimal
    read_at: datetime
    received_at: datetime
    period: date
    source: str
    status: str
    flags: tuple[str, ...]
    supersedes: UUID | None
    key_id: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The reading before or after, that a new one is compared with."""

    value: Decimal
    read_at: datetime


# ── what can become of a reading; every one that was taken in gets exactly one of these ──────────


@dataclass(frozen=True, slots=True)
class Committed:
    """It is in the database. `replayed`: it already was, and this is its first result again."""

    period: date
    flags: tuple[str, ...]
    replayed: bool = False
    found: Stored | None = field(default=None, compare=False)
    """What was there already."""


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Not stored: a person should look at it and send it again with `confirm`."""

    flags: tuple[str, ...]
    previous: Neighbour | None
    next: Neighbour | None = None


@dataclass(frozen=True, slots=True)
class Conflicting:
    """Not stored: the same id is taken by a reading with another content."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class AlreadySuperseded:
    """Not stored: another correction of the same reading came first."""


@dataclass(frozen=True, slots=True)
class Unstorable:
    """Not stored: the database refuses this very row."""

    reason: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """The deadline passed. `maybe_stored`: a write had reached the database and its outcome never came back."""

    maybe_stored: bool


Outcome = Committed | Doubtful | Conflicting | AlreadySuperseded | Unstorable | Undecided


def same_content(reading: Reading, stored: Stored) -> bool:
    """Whether a repeated id carries what was stored under it. A time that the client left out is not compared."""
    return (
        reading.register == stored.register
        and Decimal(reading.value) == stored.value
        and reading.supersedes == stored.supersedes
        and (not reading.read_at_given or reading.read_at == stored.read_at)
    )


def same_request(reading: Reading, earlier: Reading) -> bool:
    """`same_content` for two that wait in the same queue."""
    return (
        reading.register == earlier.register
        and Decimal(reading.value) == Decimal(earlier.value)
        and reading.supersedes == earlier.supersedes
        and (not reading.read_at_given or reading.read_at == earlier.read_at)
    )
