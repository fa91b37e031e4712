"""From bytes to readings: the shapes that clients send, and their limits.

msgspec checks types and shape; what it cannot see (a value's range, a repeated key) is checked here. What a reading means
is the domain's business.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal, TypeVar
from uuid import UUID, uuid4

import msgspec
from msgspec import Meta

from energy.domain.identity import reading_id_of
from energy.domain.reading import VALUE_MAX, Reading
from energy.wire.problems import Problem

Register = Literal["T0", "T1", "T2", "T3"]
Source = Literal["meter", "person", "head_end", "import", "correction"]
PEOPLE = frozenset({"person", "correction"})
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
AHEAD_MAX = timedelta(days=366)
KEY_BYTES_MAX = 200
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,19})?", re.ASCII).fullmatch
_EXACT_MAX = 1e9
"""Below it no two numbers with three decimal places are the same float."""
_KEY = re.compile(rb"[ -~]{1,%d}" % KEY_BYTES_MAX).fullmatch

Aware = Annotated[datetime, Meta(tz=True)]
Number = int | float | Annotated[str, Meta(max_length=40)]


class ValueIn(msgspec.Struct):
    """The task's body. Other members are ignored: old meters send what they send."""

    device_id: UUID
    value: Annotated[int, Meta(ge=0, le=999_999_999)]

    def reading(self, key: bytes | None, now: datetime, source: str, key_id: str = "") -> Reading:
        """The domain's reading. `key`: the Idempotency-Key header; `source` and `key_id`: of the API key. Raises `Problem`."""
        return Reading(
            device_id=self.device_id,
            reading_id=identity(self.device_id, None, key),
            register="T0",
            value=f"{self.value}.000",
            read_at=now,
            received_at=now,
            source=source,  # nobody is asked: this body can't confirm, so what is doubtful is stored with its flags
            read_at_given=False,
            key_id=key_id,
        )


class ReadingIn(msgspec.Struct, forbid_unknown_fields=True):
    """One reading."""

    device_id: UUID
    value: Number
    register: Register = "T0"
    read_at: Aware | None = None
    reading_id: UUID | None = None
    source: Source | None = None
    confirm: bool = False

    def reading(self, key: bytes | None, now: datetime, source: str, key_id: str = "") -> Reading:
        """The domain's reading. `key`: the Idempotency-Key header; `source` and `key_id`: of the API key. Raises `Problem`."""
        read_at = self.read_at
        if read_at is not None:
            refuse_impossible(read_at, now)
        return Reading(
            device_id=self.device_id,
            reading_id=identity(self.device_id, self.reading_id, key),
            register=self.register,
            value=decimal_text(self.value),
            read_at=read_at.astimezone(UTC) if read_at is not None else now,
            received_at=now,
            source=source,
            by_person=source in PEOPLE,
            confirmed=self.confirm,
            read_at_given=read_at is not None,
            key_id=key_id,
        )


class CorrectionIn(msgspec.Struct, forbid_unknown_fields=True):
    """The value that should have been sent, and where they were wrong, its register and time."""

    value: Number
    register: Register | None = None
    read_at: Aware | None = None
    reading_id: UUID | None = None
    confirm: bool = False

    def read_at_or(self, wrong: datetime, now: datetime) -> datetime:
        """When it was read: the time given, else that of the wrong reading. Raises `Problem`."""
        if self.read_at is None:
            return wrong
        refuse_impossible(self.read_at, now)
        return self.read_at.astimezone(UTC)


_Body = TypeVar("_Body", bound=msgspec.Struct)
_Shape = TypeVar("_Shape")


def decoder(shape: type[_Body]) -> Callable[[bytes], _Body]:
    """A function from a JSON body to `shape`. It raises `Problem`."""
    decode = msgspec.json.Decoder(shape).decode
    suspects = [b'"%s"' % name.encode() for name in shape.__struct_fields__]

    def body_of(raw: bytes) -> _Body:
        try:
            body = decode(raw)
        except msgspec.ValidationError as error:
            raise Problem("invalid", _sentence(error)) from None
        except (ValueError, RecursionError, OverflowError) as error:
            raise Problem("malformed", f"The body is not valid JSON: {_sentence(error)}") from None
        for suspect in suspects:
            if raw.count(suspect) > 1:
                refuse_repeated_keys(raw)
        if b"\\u" in raw:  # a key in another spelling
            refuse_repeated_keys(raw)
        return body

    return body_of


def json_of(raw: bytes, shape: type[_Shape]) -> _Shape:
    """A JSON body of any shape; for requests that are rare. Raises `Problem`."""
    try:
        found = msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as error:
        raise Problem("invalid", _sentence(error)) from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise Problem("malformed", f"The body is not valid JSON: {_sentence(error)}") from None
    refuse_repeated_keys(raw)
    return found


def refuse_repeated_keys(raw: bytes) -> None:
    """JSON leaves open which of two equal keys counts; a meter reading should not depend on that. Raises `Problem`."""

    def pairs(members: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(members)
        if len(found) != len(members):
            repeated = Counter(name for name, _ in members).most_common(1)[0][0]
            raise Problem("malformed", f"The key {repeated[:40]!r} occurs more than once.")
        return found

    try:
        json.loads(raw, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:  # what the fast decoder skips: members nobody asked for
        raise Problem("malformed", f"The body is not valid JSON: {_sentence(error)}") from None


def refuse_impossible(read_at: datetime, now: datetime) -> None:
    """Raises `Problem` for a time that no meter's clock can mean: it would stand first in the history for years."""
    if not EARLIEST <= read_at <= now + AHEAD_MAX:
        raise Problem("invalid", f"`read_at` has to be between {EARLIEST.year} and {AHEAD_MAX.days} days from now.")


def decimal_text(value: float | str) -> str:
    """The value as decimal text in the database's range. Raises `Problem`."""
    if not isinstance(value, str) and 0 < value < _EXACT_MAX:
        text = f"{value:.3f}"
        if float(text) == value:
            return text
    if isinstance(value, str) and not _DECIMAL(value):
        raise Problem("invalid", "`value` has to be a decimal number of 0 or more, such as 10432.5.")
    number = Decimal(value if isinstance(value, str) else repr(value))
    if not 0 <= number <= VALUE_MAX:
        raise Problem("invalid", f"`value` has to be between 0 and {VALUE_MAX}.")
    text = f"{abs(number):.3f}"  # JSON has a -0.0
    if Decimal(text) != number:
        raise Problem("invalid", "`value` can have at most three decimal places.")
    return text


def identity(device_id: UUID, reading_id: UUID | None, key: bytes | None) -> UUID:
    """The id that a reading can be repeated under. Raises `Problem` for a key that cannot be used."""
    if key is None:
        return uuid4() if reading_id is None else reading_id
    text = key.strip()
    if not _KEY(text):
        raise Problem("bad_header", f"Idempotency-Key has to be 1 to {KEY_BYTES_MAX} printable ASCII characters.")
    return reading_id_of(device_id, text) if reading_id is None else reading_id


def _sentence(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text[:300].rstrip(".") + "."
