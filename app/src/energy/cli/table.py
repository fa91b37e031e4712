"""A CSV as people have it: which separator, which decimal sign, which column is the reason of an earlier refusal.

It exists so that a file is either read as it was meant or refused with a sentence: a field that lands in the wrong column
is a wrong bill. A file of semicolons comes from a program with a decimal comma (Excel in Russian), so numbers in it may
have one. Knows nothing of meters, readings or databases.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TextIO
from zoneinfo import ZoneInfo

Line = list[str]

REASON = "reason"
_FIELD_CHARACTERS_MAX = 200
_HEADER_CHARACTERS_MAX = 10_000
_DOTTED = re.compile(r"(\d{2})\.(\d{2})\.(\d{4})(?:[ T](\d{1,2}:\d{2}(?::\d{2})?))?", re.ASCII).fullmatch
_COMMA_NUMBER = re.compile(r"\d+,\d+", re.ASCII).fullmatch


class BadFile(Exception):
    """The file as a whole cannot be imported; the message says why."""


@dataclass(frozen=True, slots=True)
class Table:
    """A header and the lines below it. `reason_at`: where an earlier refusal wrote its reasons, if it did."""

    header: tuple[str, ...]
    separator: str
    reason_at: int | None
    lines: Iterator[Line]

    def fields(self, line: Line) -> dict[str, str]:
        """The line's fields by column. Raises ValueError when there are more or fewer than the header has."""
        if len(line) != len(self.header):
            raise ValueError(f"{self._counted(line)}{self._likely(line)}")
        if max(map(len, line)) > _FIELD_CHARACTERS_MAX or "\0" in "".join(line):
            raise ValueError(f"a field has more than {_FIELD_CHARACTERS_MAX} characters, or a zero byte")
        return dict(zip(self.header, map(str.strip, line), strict=True))

    def number(self, text: str) -> str:
        """A number with a decimal point."""
        return text.replace(",", ".") if self.separator == ";" and _COMMA_NUMBER(text) else text

    def chunks(self, lines_max: int) -> Iterator[list[Line]]:
        """Non-empty lines without their reasons, so many at a time."""
        filled = (self._without_reason(line) for line in self.lines if any(map(str.strip, line)))
        while chunk := list(itertools.islice(filled, lines_max)):
            yield chunk

    def _without_reason(self, line: Line) -> Line:
        return line if self.reason_at is None else line[: self.reason_at] + line[self.reason_at + 1 :]

    def _counted(self, line: Line) -> str:
        return f"the line has {len(line)} fields, the header has {len(self.header)}"

    def _likely(self, line: Line) -> str:
        if self.separator == "," and len(line) > len(self.header):
            return ": a decimal comma? Write 10432.75, or separate fields by semicolons"
        return ""


def open_table(source: TextIO) -> Table:
    """Reads the header line. Raises `BadFile` when there is none, or when it names a column twice."""
    first = source.readline(_HEADER_CHARACTERS_MAX)
    separator = ";" if ";" in first and "," not in first else ","
    rows = csv.reader(itertools.chain([first], source), delimiter=separator, strict=True)
    names = [name.strip() for name in next(rows, [])]
    if len(set(names)) != len(names):
        raise BadFile("the header line names a column twice")
    reason_at = names.index(REASON) if REASON in names else None
    return Table(tuple(name for name in names if name != REASON), separator, reason_at, rows)


def check_header(header: Sequence[str], needed: frozenset[str], known: frozenset[str]) -> None:
    """Raises `BadFile` when columns are missing or unknown."""
    missing, unknown = needed - set(header), set(header) - known
    said = [f"is missing {', '.join(sorted(missing))}"] if missing else []
    said += [f"has unknown {', '.join(sorted(unknown))}"] if unknown else []
    if said:
        raise BadFile(f"the header line {' and '.join(said)}; columns: {', '.join(sorted(known))}")


def moment_of(name: str, text: str, zone: ZoneInfo | None, *, day_ends: bool = False) -> datetime:
    """ISO 8601 or ДД.ММ.ГГГГ[ ЧЧ:ММ[:СС]]; without a UTC offset it is local time of `zone`.

    A day alone means its first instant, or with `day_ends` the first one after it. Raises ValueError.
    """
    dotted = _DOTTED(text)
    if dotted:
        day, month, year, clock = dotted.groups()
        text = f"{year}-{month}-{day}" + (f"T{clock.zfill(len('00:00') + 3 * (clock.count(':') - 1))}" if clock else "")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}: {text[:40]!r} is not a time such as 2026-11-20T10:00:00+04:00") from None
    if at.tzinfo is not None:
        return at
    if zone is None:
        raise ValueError(f"{name} needs a UTC offset, such as +04:00; or give --time-zone for the whole file")
    if ":" in text or not day_ends:
        return at.replace(tzinfo=zone)
    return _start_of(at.date() + timedelta(days=1), zone)


def _start_of(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)
