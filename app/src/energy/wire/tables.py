"""Readings as lines of a table: the one place that knows the CSV of batches and imports, and of both exports.

The API and the command line share it, so a file that one of them takes is taken by the other.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from energy.domain.reading import Stored
from energy.wire.answers import month_text, time_text, value_text
from energy.wire.bodies import ReadingIn
from energy.wire.problems import Problem

COLUMNS_IN = frozenset(ReadingIn.__struct_fields__)
"""What a reading's line may have; `device_id` and `value` it must have."""
COLUMNS_OUT = (
    "device_id", "reading_id", "register", "value", "read_at", "received_at", "period", "source", "status", "flags", "supersedes", "key_id",
)  # fmt: skip
HEADER_OUT = ",".join(COLUMNS_OUT) + "\r\n"
FIELD_CHARACTERS_MAX = 200

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_FLAGS = {"true": True, "false": False}


def check_header(header: Sequence[str]) -> None:
    """Raises `Problem` unless the columns are known, named once, and enough."""
    unknown = [name for name in header if name not in COLUMNS_IN]
    if unknown or len(set(header)) != len(header) or not {"device_id", "value"} <= set(header):
        wanted = ", ".join(sorted(COLUMNS_IN))
        raise Problem("invalid", f"The first line has to name device_id and value, once each, and may name: {wanted}.")


def fields_of(header: Sequence[str], line: Sequence[str]) -> dict[str, str]:
    """The line's fields by column. Raises `Problem`, also when there are more or fewer than the header has."""
    if len(line) != len(header):
        raise Problem("invalid", f"The line has {len(line)} fields, the header {len(header)}.")
    if any(len(text) > FIELD_CHARACTERS_MAX or "\0" in text for text in line):
        raise Problem("invalid", f"A field may have at most {FIELD_CHARACTERS_MAX} characters and no zero byte.")
    return dict(zip(header, line, strict=True))


def body_of(fields: Mapping[str, str | datetime]) -> ReadingIn:
    """The reading of a line; an empty field is one that was left out. Raises `Problem`."""
    given: dict[str, object] = {name: text for name, text in fields.items() if text}
    if "confirm" in given:
        given["confirm"] = _FLAGS.get(str(given["confirm"]), given["confirm"])
    try:
        return msgspec.convert(given, ReadingIn)
    except msgspec.ValidationError as error:
        raise Problem("invalid", f"{str(error)[:200]}.") from None


def _row(stored: Stored) -> list[str]:
    return [
        str(stored.device_id), str(stored.reading_id), stored.register, value_text(stored.value),
        time_text(stored.read_at), time_text(stored.received_at), month_text(stored.period),
        stored.source, stored.status, " ".join(stored.flags), str(stored.supersedes or ""), stored.key_id,
    ]  # fmt: skip


def csv_lines(page: Sequence[Stored]) -> str:
    """CSV that a spreadsheet shows and never runs: a cell that could be a formula is made text."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(
        [f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell for cell in _row(stored)] for stored in page
    )
    return text.getvalue()


def json_lines(page: Sequence[Stored]) -> str:
    """The same as one JSON object per line."""
    return "".join(
        msgspec.json.encode(dict(zip(COLUMNS_OUT, _row(stored), strict=True))).decode() + "\n" for stored in page
    )
