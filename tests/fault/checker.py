"""Judges a run: what clients were promised against what the database holds.

A promise of the service can be broken in five ways, and none of them may have happened once. The words are those of the load
lab (loadtest/verdict.py), which counts millions of readings by their ids; here each reading has its whole history:

- lost: acknowledged, and not there;
- duplicated: there more often than it may be (once where an id or key was sent, else once a request);
- unexpected: there, and nobody sent it;
- stored_though_refused: there, although every answer said that it is not stored;
- corrupt: there, with another content than was sent.

A run without faults or without acknowledgements proves nothing: its outcome is `unknown`, and that is not a pass.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from fault.history import Answer, Event, Fault, Heard, Intent, Sent


@dataclass(frozen=True, slots=True)
class Row:
    """A stored reading, as the database has it."""

    device_id: UUID
    reading_id: UUID
    value: Decimal
    read_at: datetime


@dataclass(slots=True)
class Verdict:
    """What was found; the lists hold a line for each finding."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    stored_though_refused: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    unknown: int = 0
    stored_unacknowledged: int = 0
    faults: int = 0

    @property
    def broken(self) -> dict[str, int]:
        """The broken promises and how often."""
        names = ("lost", "duplicated", "unexpected", "stored_though_refused", "corrupt")
        return {name: len(getattr(self, name)) for name in names if getattr(self, name)}

    @property
    def outcome(self) -> str:
        """`passed`, `failed`, or `unknown` when the run proves nothing."""
        if self.broken:
            return "failed"
        return "passed" if self.faults and self.acknowledged else "unknown"


def judge(events: Iterable[Event], rows: Iterable[Row]) -> Verdict:
    """The verdict on a history and everything that the database holds after it."""
    book = _Book()
    for event in events:
        book.enter(event)
    verdict = Verdict(sent=sum(book.sent.values()), faults=book.faults)
    stored = _stored_of(rows, book, verdict)
    for number, intent in book.intents.items():
        _judge_one(intent, book, stored[number], verdict)
    return verdict


class _Book:
    """The history by reading."""

    def __init__(self) -> None:
        self.intents: dict[int, Intent] = {}
        self.number_of: dict[UUID, int] = {}
        self.sent: Counter[int] = Counter()
        self.heard: defaultdict[int, list[Answer]] = defaultdict(list)
        self.faults = 0

    def enter(self, event: Event) -> None:
        match event:
            case Intent():
                self.intents[event.number] = event
                if event.reading_id is not None:
                    self.number_of[event.reading_id] = event.number
            case Sent():
                self.sent[event.number] += 1
            case Answer():
                self.heard[event.number].append(event)
            case Fault():
                self.faults += 1

    def intent_of(self, row: Row) -> Intent | None:
        number = self.number_of.get(row.reading_id)
        return self.intents.get(int(row.value) if number is None else number)


def _stored_of(rows: Iterable[Row], book: _Book, verdict: Verdict) -> defaultdict[int, list[Row]]:
    stored: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        intent = book.intent_of(row)
        if intent is None or not book.sent[intent.number]:
            verdict.unexpected.append(f"{row}")
            continue
        same_time = intent.read_at is None or intent.read_at == row.read_at
        if (row.device_id, row.value) != (intent.device_id, intent.value) or not same_time:
            verdict.corrupt.append(f"{row} was sent as {intent}")
        stored[intent.number].append(row)
    return stored


def _judge_one(intent: Intent, book: _Book, rows: list[Row], verdict: Verdict) -> None:
    answers = book.heard[intent.number]
    acknowledged = {answer.reading_id for answer in answers if answer.heard is Heard.ACKNOWLEDGED}
    refused = sum(answer.heard is Heard.REFUSED for answer in answers)
    verdict.acknowledged += bool(acknowledged)
    there = {row.reading_id for row in rows}
    if acknowledged and not (acknowledged - {None} <= there and there):
        verdict.lost.append(f"{intent}: {answers}")
    if len(rows) > (1 if intent.once else book.sent[intent.number]):
        verdict.duplicated.append(f"{intent} is there {len(rows)} times")
    if rows and book.sent[intent.number] == refused:
        verdict.stored_though_refused.append(f"{intent}: {answers}")
    if book.sent[intent.number] > len(answers) or any(answer.heard is Heard.UNKNOWN for answer in answers):
        verdict.unknown += 1
        verdict.stored_unacknowledged += bool(rows and not acknowledged)
