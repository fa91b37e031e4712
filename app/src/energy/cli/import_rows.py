"""From a file's lines to rows of the database, with a reason for every line that cannot become one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from energy.domain.identity import reading_id_of
from energy.domain.reading import Committed, Outcome, Reading
from energy.ingest.committer import Committer
from energy.store.postgres.meters import MeterRow, PostgresMeters
from energy.wire.answers import problem_of
from energy.wire.bodies import ReadingIn, reading_of
from energy.wire.problems import Problem

Line = list[str]
Refusal = tuple[Line, str]

_DEADLINE_S = 120.0
_FIELD_CHARACTERS_MAX = 200


class BadFile(Exception):
    """The file as a whole cannot be imported; the message says why."""


class Importer(Protocol):
    """Takes lines in, a few thousand at a time."""

    def check_header(self, header: Sequence[str]) -> None:
        """Raises `BadFile` when columns are missing or unknown."""

    async def store(self, header: Sequence[str], lines: Sequence[Line]) -> list[Refusal]:
        """Commits what can be stored and returns the rest. Raises `StoreError` when the database cannot be used."""


def _check(header: Sequence[str], needed: set[str], known: set[str]) -> None:
    missing, unknown = needed - set(header), set(header) - known
    if missing or unknown or len(set(header)) != len(header):
        said = [f"is missing {', '.join(sorted(missing))}"] if missing else []
        said += [f"has unknown {', '.join(sorted(unknown))}"] if unknown else []
        raise BadFile(
            f"the header line {' and '.join(said) or 'names a column twice'}; columns: {', '.join(sorted(known))}"
        )


def _fields(header: Sequence[str], line: Line) -> dict[str, str]:
    if len(line) < len(header) or len(line) > len(header) + 1:  # one more: the reason of an earlier refusal
        raise ValueError(f"{len(line)} fields instead of {len(header)}")
    if any(len(text) > _FIELD_CHARACTERS_MAX or "\0" in text for text in line[: len(header)]):
        raise ValueError(f"a field has more than {_FIELD_CHARACTERS_MAX} characters, or a zero byte")
    return dict(zip(header, (text.strip() for text in line), strict=False))


class MeterImporter:
    """Meters with their accounts; a later line for the same device wins."""

    _NEEDED = frozenset({"account_no", "time_zone", "device_id"})
    _KNOWN = _NEEDED | {"region", "serial", "digits", "decimals", "multiplier", "installed_at", "removed_at"}

    def __init__(self, meters: PostgresMeters) -> None:
        self._meters = meters

    def check_header(self, header: Sequence[str]) -> None:
        """See `Importer`."""
        _check(header, set(self._NEEDED), set(self._KNOWN))

    async def store(self, header: Sequence[str], lines: Sequence[Line]) -> list[Refusal]:
        """See `Importer`."""
        rows: dict[str, MeterRow] = {}
        refused: list[Refusal] = []
        for line in lines:
            try:
                row = _meter(_fields(header, line))
            except ValueError as error:
                refused.append((line, str(error)))
            else:
                rows[row.device_id] = row
        if rows:
            await self._meters.upsert(list(rows.values()))
        return refused


def _meter(given: dict[str, str]) -> MeterRow:
    account_no = given["account_no"]
    if not account_no:
        raise ValueError("account_no is empty")
    return MeterRow(
        account_no=account_no,
        region=given.get("region", ""),
        time_zone=_zone(given["time_zone"]),
        device_id=str(UUID(given["device_id"])),
        serial=given.get("serial", ""),
        digits=_whole("digits", given.get("digits") or "6", 1, 9),
        decimals=_whole("decimals", given.get("decimals") or "3", 0, 3),
        multiplier=_multiplier(given.get("multiplier") or "1"),
        installed_at=_time("installed_at", given.get("installed_at", "")),
        removed_at=_time("removed_at", given.get("removed_at", "")),
    )


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"time_zone {name!r} is not in the IANA database") from None
    return name


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ValueError(f"{name} has to be {least} to {most}")
    return int(text)


def _multiplier(text: str) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or not Decimal("0.001") <= number <= Decimal("999999.999"):
        raise ValueError("multiplier has to be between 0.001 and 999999.999")
    return f"{number:.3f}"


def _time(name: str, text: str) -> str:
    if not text:
        return ""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None and ":" in text:
        raise ValueError(f"{name} needs a UTC offset")
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


class ReadingImporter:
    """Readings; a line without an id gets one made of its content, so that a file can be imported twice."""

    _KNOWN = frozenset(ReadingIn.__struct_fields__)

    def __init__(self, committer: Committer, now: Callable[[], datetime], clock: Callable[[], float]) -> None:
        self._committer = committer
        self._now = now
        self._clock = clock

    def check_header(self, header: Sequence[str]) -> None:
        """See `Importer`."""
        _check(header, {"device_id", "value"}, set(self._KNOWN))

    async def store(self, header: Sequence[str], lines: Sequence[Line]) -> list[Refusal]:
        """See `Importer`."""
        readings: list[tuple[Line, Reading]] = []
        refused: list[Refusal] = []
        now = self._now()
        for line in lines:
            try:
                readings.append((line, _reading(_fields(header, line), now)))
            except Problem as problem:
                refused.append((line, problem.detail))
            except ValueError as error:
                refused.append((line, str(error)))
        outcomes = await self._committer.commit([reading for _, reading in readings], self._clock() + _DEADLINE_S)
        refused += [
            (line, reason)
            for (line, reading), outcome in zip(readings, outcomes, strict=True)
            for reason in _reason(reading, outcome)
        ]
        return refused


def _reading(given: dict[str, str], now: datetime) -> Reading:
    present: dict[str, object] = {name: text for name, text in given.items() if text}
    present.setdefault("source", "import")
    if present.get("confirm") in ("true", "false"):
        present["confirm"] = present["confirm"] == "true"
    body = msgspec.convert(present, ReadingIn)
    if body.reading_id is None:
        content = "|".join(f"{name}={given[name]}" for name in sorted(given))
        body.reading_id = reading_id_of(body.device_id, hashlib.sha256(content.encode()).hexdigest())
    return reading_of(body, None, now)


def _reason(reading: Reading, outcome: Outcome) -> list[str]:
    return [] if isinstance(outcome, Committed) else [problem_of(reading, outcome, 1).detail]
