"""What each outcome means to a client: the status, the document and the headers, in one place.

201 is committed now, 200 was committed before, 422 is not stored and will not be by repeating it, 503 may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from energy.domain.reading import (
    AlreadySuperseded,
    Committed,
    Conflicting,
    Doubtful,
    Flag,
    Neighbour,
    Outcome,
    Reading,
    Stored,
    Undecided,
    Unstorable,
)
from energy.wire.problems import Problem

_Known = TypeVar("_Known", Neighbour, Stored)
Month = Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="The billing month it counts for.")]


class Receipt(msgspec.Struct):
    """What a client gets for a reading that is committed."""

    device_id: UUID
    reading_id: UUID
    register: str
    value: str
    read_at: datetime
    period: Month
    status: Annotated[str, Meta(description="accepted or flagged; superseded where a repeat finds it so.")]
    flags: tuple[str, ...]


class ReadingOut(msgspec.Struct):
    """A stored reading."""

    device_id: UUID
    reading_id: UUID
    register: str
    value: str
    read_at: datetime
    received_at: datetime
    period: Month
    source: str
    status: Annotated[str, Meta(description="accepted, flagged or superseded.")]
    flags: tuple[str, ...]
    supersedes: UUID | None

    @classmethod
    def of(cls, stored: Stored) -> ReadingOut:
        """The document of a stored reading."""
        return cls(
            stored.device_id, stored.reading_id, stored.register, value_text(stored.value), stored.read_at, stored.received_at,
            month_text(stored.period), stored.source, stored.status, stored.flags, stored.supersedes,
        )  # fmt: skip


class HistoryPage(msgspec.Struct):
    """A page of history, newest first."""

    items: list[ReadingOut]
    next_cursor: str | None


class WindowOut(msgspec.Struct):
    """The submission window that is open, else the next one."""

    open: bool
    period: Month
    opens_at: datetime
    closes_at: datetime
    time_zone: str


class ProgressOut(msgspec.Struct):
    """How many of the expected meters have sent a reading for the period. Where counting takes long, as of a minute or two ago.

    `expected` and `received` count meters; `flagged` counts their readings, and a meter may have several.
    """

    period: Month
    expected: int
    received: int
    flagged: int
    share: float
    counted_at: datetime


class ItemResult(msgspec.Struct, omit_defaults=True):
    """What became of one item; `status` as if it had been sent alone."""

    index: int
    status: int
    reading_id: UUID | None = None
    flags: tuple[str, ...] = ()
    code: str = ""
    detail: str = ""


class BatchResult(msgspec.Struct):
    """What became of the batch: how many of each, and each one."""

    stored: int
    replayed: int
    refused: int
    undecided: int
    items: list[ItemResult]


class NeighbourOut(msgspec.Struct):
    """A reading that a refused one was compared with."""

    value: str
    read_at: datetime


class ProblemOut(msgspec.Struct, omit_defaults=True):
    """A refusal (RFC 9457); its `type` is a page of this service.

    `previous`, `next` and `flags` come with a doubtful reading, `items` with an atomic batch.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    flags: tuple[str, ...] = ()
    previous: NeighbourOut | None = None
    next: NeighbourOut | None = None
    items: list[ItemResult] = []


def receipt_of(reading: Reading, outcome: Committed) -> Receipt:
    """The document of a 200 or 201; of a repeat, what is stored: its time may be that of the first arrival."""
    found = outcome.found
    return Receipt(
        reading.device_id,
        reading.reading_id,
        reading.register,
        reading.value,
        found.read_at if found else reading.read_at,
        month_text(outcome.period),
        found.status if found else "flagged" if outcome.flags else "accepted",
        outcome.flags,
    )


def problem_of(reading: Reading, outcome: Outcome, sees_from: datetime | None) -> Problem:
    """The refusal for every outcome but `Committed`. It tells nothing of readings before `sees_from`, or without one of any."""
    match outcome:
        case Doubtful():
            return _doubtful(
                reading, outcome.flags, _visible(outcome.previous, sees_from), _visible(outcome.next, sees_from)
            )
        case Conflicting(stored):
            return _id_taken(_visible(stored, sees_from))
        case AlreadySuperseded():
            return Problem("already_superseded", "Correct the reading that superseded it instead.")
        case Unstorable(reason):
            return Problem("unstorable", f"The database says: {reason[:200]}. The reading was not stored.")
        case Undecided(maybe_stored=True):
            detail = "The database did not answer in time. Send it again with the same reading_id or Idempotency-Key to settle it."
            return Problem("outcome_unknown", detail)
        case _:
            return Problem("database_unavailable", "The reading was not stored. Send it again later.")


def _doubtful(
    reading: Reading, flags: tuple[str, ...], previous: Neighbour | None, following: Neighbour | None
) -> Problem:
    more: dict[str, object] = {"flags": flags, "previous": _neighbour(previous), "next": _neighbour(following)}
    was = f"{reading.register} was {plain(previous.value)} on {previous.read_at:%Y-%m-%d}" if previous else ""
    if Flag.LESS_THAN_PREVIOUS in flags:
        what = f"{was or f'The {reading.register} before it was higher'}; you sent {plain(Decimal(reading.value))}."
        return Problem(
            "less_than_previous", f"{what} Check the decimal point, or send it again with confirm=true.", more=more
        )
    reasons = ", ".join(flag for flag in flags if flag not in (Flag.UNMATCHED, Flag.OUT_OF_WINDOW))
    compared = f" {was}." if was else ""
    if following is not None:
        compared += f" The next value is {plain(following.value)} on {following.read_at:%Y-%m-%d}."
    detail = f"The reading looks wrong: {reasons}.{compared} Check it, or send it again with confirm=true."
    return Problem("doubtful", detail, more=more)


def _neighbour(compared: Neighbour | None) -> NeighbourOut | None:
    return NeighbourOut(value_text(compared.value), compared.read_at) if compared else None


def _visible(known: _Known | None, sees_from: datetime | None) -> _Known | None:
    return known if known is not None and sees_from is not None and known.read_at >= sees_from else None


def _id_taken(stored: Stored | None) -> Problem:
    what = f"{stored.register} = {plain(stored.value)} of {time_text(stored.read_at)}" if stored else "another reading"
    detail = f"Under this id {what} is stored already. Use a new id for a new reading; to change a stored one, post a correction."
    return Problem("id_taken", detail)


def plain(value: Decimal) -> str:
    """A value as people write it: no trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def value_text(value: Decimal) -> str:
    """A value as every answer writes it: three decimal places."""
    return f"{value:.3f}"


def time_text(at: datetime) -> str:
    """An instant as every answer and file writes it: UTC, with a Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def month_text(period: date) -> str:
    """A billing period as every answer, parameter and file writes it."""
    return period.isoformat()[:7]


def least_certain(outcomes: Sequence[Outcome]) -> Outcome:
    """Which of them speaks for a request of which nothing was decided: one that may be stored, if there is any."""
    return max(outcomes, key=lambda outcome: isinstance(outcome, Undecided) and outcome.maybe_stored)
