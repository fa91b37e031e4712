"""From a file's lines to rows of the database, with a reason for every line that cannot become one.

In two steps, so that lines are checked in a thread of their own while those before them are stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Generic, Protocol, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from energy.cli.table import BadFile, Line, Table, check_header, moment_of
from energy.domain.identity import reading_id_of
from energy.domain.reading import Committed, Outcome, Reading
from energy.ingest.committer import Committer
from energy.ingest.rejudging import Rejudging
from energy.store.postgres.meters import MeterRow, PostgresMeters
from energy.wire.answers import problem_of
from energy.wire.bodies import EARLIEST, ReadingIn
from energy.wire.problems import Problem
from energy.wire.tables import body_of

_DEADLINE_S = 120.0


@dataclass(slots=True)
class Imported:
    """What became of lines: written now, found as they are, or refused with a reason."""

    stored: int = 0
    repeated: int = 0
    refused: list[tuple[Line, str]] = field(default_factory=list)


_Row = TypeVar("_Row")


@dataclass(slots=True)
class Checked(Generic[_Row]):
    """Lines that have been looked at: what is to be stored, and what was refused."""

    rows: list[tuple[Line, _Row]] = field(default_factory=list)
    refused: list[tuple[Line, str]] = field(default_factory=list)


class Importer(Protocol[_Row]):
    """Takes lines in, a few thousand at a time."""

    def check_header(self, header: Sequence[str]) -> None:
        """Raises `BadFile` when columns are missing or unknown."""

    async def check(self, table: Table, lines: Sequence[Line]) -> Checked[_Row]:
        """The lines as rows. May run while `store` does. Raises `StoreError`."""

    async def store(self, checked: Checked[_Row]) -> Imported:
        """Commits what can be stored. Raises `StoreError` when the database cannot be used."""

    async def finish(self) -> None:
        """Ends what still goes on beside it. Raises `StoreError`."""


class MeterImporter:
    """Meters with their accounts; a later line for the same device wins. What a file has no column for stays as it is."""

    _NEEDED = frozenset({"account_no", "time_zone", "device_id"})
    _KNOWN = _NEEDED | {
        "region",
        "serial",
        "digits",
        "decimals",
        "multiplier",
        "installed_at",
        "removed_at",
        "account_since",
    }

    def __init__(self, meters: PostgresMeters) -> None:
        self._meters = meters
        self._zones: dict[str, ZoneInfo | None] = {}
        self._header: Sequence[str] = ()

    def check_header(self, header: Sequence[str]) -> None:
        """See `Importer`."""
        check_header(header, self._NEEDED, self._KNOWN)
        self._header = header

    async def check(self, table: Table, lines: Sequence[Line]) -> Checked[MeterRow]:
        """See `Importer`."""
        at = table.header.index("time_zone")
        await self._learn({line[at].strip() for line in lines if len(line) > at})
        return await asyncio.to_thread(self._rows, table, lines)

    def _rows(self, table: Table, lines: Sequence[Line]) -> Checked[MeterRow]:
        found: Checked[MeterRow] = Checked()
        for line in lines:
            try:
                given = table.fields(line)
                found.rows.append((line, _meter(table, given, self._zone(given["time_zone"]))))
            except ValueError as error:
                found.refused.append((line, str(error)))
        return found

    async def store(self, checked: Checked[MeterRow]) -> Imported:
        """See `Importer`."""
        last = {row.device_id: row for _, row in checked.rows}
        if last:
            await self._meters.upsert(list(last.values()), self._header)
        return Imported(stored=len(checked.rows), refused=checked.refused)

    async def finish(self) -> None:
        """See `Importer`."""

    async def _learn(self, names: Iterable[str]) -> None:
        """Both this machine and the database have to know a zone: each computes days in it."""
        for name in names:
            if name not in self._zones:
                self._zones[name] = _zone_here(name) if await self._meters.knows_zone(name) else None

    def _zone(self, name: str) -> ZoneInfo:
        zone = self._zones.get(name)
        if zone is None:
            raise ValueError(
                f"time_zone {name!r} is not in the IANA database of this machine and of the database server"
            )
        return zone


def _zone_here(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None


def _meter(table: Table, given: dict[str, str], zone: ZoneInfo) -> MeterRow:
    account_no = given["account_no"]
    if not account_no:
        raise ValueError("account_no is empty")
    installed, removed, since = (given.get(name, "") for name in ("installed_at", "removed_at", "account_since"))
    return MeterRow(
        account_no=account_no,
        region=given.get("region", ""),
        time_zone=given["time_zone"],
        device_id=str(_device(given["device_id"])),
        serial=given.get("serial", ""),
        digits=_whole("digits", given.get("digits") or "6", 1, 9),
        decimals=_whole("decimals", given.get("decimals") or "3", 0, 3),
        multiplier=_multiplier(table.number(given.get("multiplier") or "1")),
        installed_at=moment_of("installed_at", installed, zone).isoformat() if installed else "",
        removed_at=moment_of("removed_at", removed, zone, day_ends=True).isoformat() if removed else "",
        account_since=moment_of("account_since", since, zone).isoformat() if since else "",
    )


def _device(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"device_id: {text[:40]!r} is not a UUID") from None


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ValueError(f"{name} has to be {least} to {most}")
    return int(text)


@lru_cache(1_000)
def _multiplier(text: str) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or not Decimal("0.001") <= number <= Decimal("999999.999"):
        raise ValueError("multiplier has to be between 0.001 and 999999.999")
    return f"{number:.3f}"


@dataclass(frozen=True, slots=True)
class Times:
    """What a file of readings leaves out: the zone of times without an offset, and the time of lines without one."""

    zone: ZoneInfo | None = None
    read_at: datetime | None = None


class ReadingImporter:
    """Readings. A line without an id gets one of its device, register and time, so that a file can be imported twice."""

    _NEEDED = frozenset({"device_id", "value"})
    _KNOWN = frozenset(ReadingIn.__struct_fields__)

    def __init__(
        self,
        committer: Committer,
        rejudging: Rejudging,
        times: Times,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._committer = committer
        self._rejudging = rejudging
        self._times = times
        self._now = now
        self._clock = clock

    def check_header(self, header: Sequence[str]) -> None:
        """See `Importer`."""
        check_header(header, self._NEEDED, self._KNOWN)
        if self._times.read_at is None and not {"read_at", "reading_id"} & set(header):
            raise BadFile(
                "the file says neither when its values were read nor which readings they are, so next month's could not "
                "be told from this month's: add a column read_at or reading_id, or give --read-at for all lines"
            )

    async def check(self, table: Table, lines: Sequence[Line]) -> Checked[Reading]:
        """See `Importer`."""
        return await asyncio.to_thread(self._rows, table, lines)

    def _rows(self, table: Table, lines: Sequence[Line]) -> Checked[Reading]:
        found: Checked[Reading] = Checked()
        now = self._now()
        for line in lines:
            try:
                found.rows.append((line, _reading(table, table.fields(line), self._times, now)))
            except Problem as problem:
                found.refused.append((line, problem.detail))
            except ValueError as error:
                found.refused.append((line, str(error)))
        return found

    async def store(self, checked: Checked[Reading]) -> Imported:
        """See `Importer`. Meanwhile what was stored before is judged again."""
        done = Imported(refused=checked.refused)
        judging = asyncio.create_task(self._rejudging.settle())
        try:
            repeats = await self._commit(checked.rows, done)
            while repeats:
                again = Imported()
                repeats = await self._commit(repeats, again)
                done.repeated += again.stored + again.repeated
                done.refused += again.refused
        finally:
            await judging
        return done

    async def finish(self) -> None:
        """See `Importer`."""
        await self._rejudging.settle()

    async def _commit(self, waiting: Sequence[tuple[Line, Reading]], done: Imported) -> list[tuple[Line, Reading]]:
        """Commits one line for each id and returns the others: the database then says what a repeated one is."""
        if not waiting:
            return []
        first: dict[int, tuple[Line, Reading]] = {}
        repeats = []
        for line, reading in waiting:
            if first.setdefault(reading.reading_id.int, (line, reading))[1] is not reading:
                repeats.append((line, reading))
        # In the key's order, which the committer wants, by numbers: those are compared a good deal faster.
        batch = sorted(first.values(), key=lambda pair: (pair[1].device_id.int, pair[1].reading_id.int))
        await asyncio.gather(*[self._commit_part(part, done) for part in _parts(batch) if part])
        return repeats

    async def _commit_part(self, part: Sequence[tuple[Line, Reading]], done: Imported) -> None:
        outcomes = await self._committer.commit([reading for _, reading in part], self._clock() + _DEADLINE_S)
        for (line, reading), outcome in zip(part, outcomes, strict=True):
            _count(done, line, reading, outcome)


def _parts(batch: list[tuple[Line, Reading]]) -> tuple[list[tuple[Line, Reading]], list[tuple[Line, Reading]]]:
    """Two halves, stored at the same time; the readings of one device stay together, for they are compared with each other."""
    middle = len(batch) // 2
    while 0 < middle < len(batch) and batch[middle - 1][1].device_id.int == batch[middle][1].device_id.int:
        middle += 1
    return batch[:middle], batch[middle:]


def _count(done: Imported, line: Line, reading: Reading, outcome: Outcome) -> None:
    if not isinstance(outcome, Committed):
        done.refused.append((line, problem_of(reading, outcome, EARLIEST).detail))
    elif outcome.replayed:
        done.repeated += 1
    else:
        done.stored += 1


def _reading(table: Table, given: dict[str, str], times: Times, now: datetime) -> Reading:
    read_at = moment_of("read_at", given["read_at"], times.zone) if given.get("read_at") else times.read_at
    if read_at is None and not given.get("reading_id"):
        raise ValueError("read_at and reading_id are both empty; give one of them, or --read-at for all such lines")
    body = body_of({**given, "value": table.number(given["value"]), "read_at": read_at or ""})
    if body.reading_id is None and read_at is not None:
        body.reading_id = reading_id_of(
            body.device_id, f"{body.register} {read_at.astimezone(UTC).isoformat()}".encode()
        )
    return body.reading(None, now, body.source or "import")
