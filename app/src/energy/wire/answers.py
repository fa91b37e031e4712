"""What each outcome means to a client: the status, the document and the headers, in one place.

201 is committed now, 200 was committed before, 422 is not stored and will not be by repeating it, 503 may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from energy.domain.reading import (
    Committed,
    Conflicting,
    Doubtful,
    Flag,
    Outcome,
    Previous,
    Reading,
    Stored,
    Undecided,
    Unstorable,
)
from energy.wire.problems import Problem, busy

REPLAYED = (b"idempotent-replayed", b"true")


class Receipt(msgspec.Struct):
    """What a client gets for a reading that is committed."""

    device_id: UUID
    reading_id: UUID
    register: str
    value: str
    read_at: datetime
    period: str
    status: str
    flags: tuple[str, ...]


def receipt_of(reading: Reading, outcome: Committed) -> Receipt:
    """The document of a 200 or 201."""
    return Receipt(
        reading.device_id,
        reading.reading_id,
        reading.register,
        reading.value,
        reading.read_at,
        outcome.period.isoformat()[:7],
        "flagged" if outcome.flags else "accepted",
        outcome.flags,
    )


def problem_of(reading: Reading, outcome: Outcome, retry_after_s: int) -> Problem:
    """The refusal for every outcome but `Committed`."""
    match outcome:
        case Doubtful():
            return _doubtful(reading, outcome)
        case Conflicting(stored):
            return _id_taken(stored)
        case Unstorable(reason):
            return Problem("unstorable", f"The database says: {reason[:200]}. The reading was not stored.")
        case Undecided(maybe_stored=True):
            detail = "The database did not answer in time. Send it again with the same reading_id or Idempotency-Key to settle it."
            return busy("outcome_unknown", detail, retry_after_s)
        case _:
            return busy("database_unavailable", "The reading was not stored. Send it again later.", retry_after_s)


def _doubtful(reading: Reading, outcome: Doubtful) -> Problem:
    flags, previous = outcome.flags, outcome.previous
    more: dict[str, object] = {"flags": flags, "previous": previous_document(previous)}
    if previous is not None and Flag.LESS_THAN_PREVIOUS in flags:
        detail = (
            f"{reading.register} was {plain(previous.value)} on {previous.read_at:%Y-%m-%d}; you sent {plain(Decimal(reading.value))}. "
            "Check the decimal point, or send it again with confirm=true."
        )
        return Problem("less_than_previous", detail, more=more)
    reasons = ", ".join(flag for flag in flags if flag not in (Flag.UNMATCHED, Flag.OUT_OF_WINDOW))
    was = f" The previous value was {plain(previous.value)} on {previous.read_at:%Y-%m-%d}." if previous else ""
    return Problem(
        "doubtful", f"The reading looks wrong: {reasons}.{was} Check it, or send it again with confirm=true.", more=more
    )


def _id_taken(stored: Stored) -> Problem:
    detail = (
        f"Under this id {stored.register} = {plain(stored.value)} of {stored.read_at.isoformat()} is stored already. "
        "Use a new id for a new reading; to change a stored one, post a correction."
    )
    return Problem("id_taken", detail)


def previous_document(previous: Previous | None) -> dict[str, str] | None:
    """The reading that was compared with, for people to look at."""
    return {"value": str(previous.value), "read_at": previous.read_at.isoformat()} if previous else None


def plain(value: Decimal) -> str:
    """A value as people write it: no trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def least_certain(outcomes: Sequence[Outcome]) -> Outcome:
    """Which of them speaks for a request of which nothing was decided: one that may be stored, if there is any."""
    return max(outcomes, key=lambda outcome: isinstance(outcome, Undecided) and outcome.maybe_stored)
