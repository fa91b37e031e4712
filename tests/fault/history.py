"""What the clients meant, sent and heard, kept in a file outside the service; and what the faults were.

A line is written before a request leaves and another when its answer is there, as Jepsen's histories are: whatever dies in
between, the judge knows what was promised. Knows nothing of HTTP or SQL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID


class Heard(StrEnum):
    """What an answer promised."""

    ACKNOWLEDGED = "acknowledged"  # 200 or 201: it is committed
    REFUSED = "refused"  # an answer that says: not stored
    UNKNOWN = "unknown"  # no answer, or one that says so


@dataclass(frozen=True, slots=True)
class Intent:
    """A reading that a client means to have stored, once. Its `number` is its value, so that it can be recognised."""

    number: int
    path: str
    device_id: UUID
    reading_id: UUID | None = None
    key: str | None = None
    read_at: datetime | None = None

    @property
    def once(self) -> bool:
        """Whether the client sent something to tell a repetition by."""
        return self.reading_id is not None or self.key is not None

    @property
    def value(self) -> Decimal:
        """What the meter shows."""
        return Decimal(self.number)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request with that reading leaves."""

    number: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client heard of it; `reading_id` is the one in a receipt."""

    number: int
    heard: Heard
    reading_id: UUID | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was broken on purpose."""

    kind: str


Event = Intent | Sent | Answer | Fault
_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in (Intent, Sent, Answer, Fault)}
_FROM_TEXT: dict[str, Callable[[str], object]] = {
    "device_id": UUID,
    "reading_id": UUID,
    "read_at": datetime.fromisoformat,
    "heard": Heard,
}


class History:
    """An append-only file of events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", buffering=1)

    def add(self, event: Event) -> None:
        """One line, handed to the system at once: the death of any process but the machine leaves it there."""
        fields = {name: getattr(event, name) for name in event.__slots__ if getattr(event, name) is not None}
        self._file.write(json.dumps({"event": type(event).__name__, **fields}, default=_text) + "\n")

    def fired(self, kind: str) -> None:
        """Notes a fault, on the disk before it goes on."""
        self.add(Fault(kind))
        self.sync()

    def sync(self) -> None:
        """To the disk: before faults and at the end, as once a line would slow the database that is being tested."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.sync()
        self._file.close()


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def events_in(path: Path) -> Iterator[Event]:
    """The events of a file, in the order in which they happened."""
    with path.open() as lines:
        for line in lines:
            fields: dict[str, Any] = json.loads(line)
            kind = _KINDS[fields.pop("event")]
            yield kind(**{name: _from_text(name, value) for name, value in fields.items()})


def _from_text(name: str, value: Any) -> Any:
    return _FROM_TEXT[name](value) if name in _FROM_TEXT else value
