"""The three shapes of a batch - JSON array, NDJSON, CSV - become one: a list of items, each a body or a problem.

One bad item never costs the others anything: it is found by decoding item by item, but only after decoding all at once
has failed, because that is the usual case and many times faster.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence

import msgspec

from energy.wire.bodies import ReadingIn, decoder
from energy.wire.problems import Problem

Item = ReadingIn | Problem

JSON, NDJSON, CSV = b"application/json", b"application/x-ndjson", b"text/csv"
_KINDS = {JSON: JSON, NDJSON: NDJSON, b"application/jsonl": NDJSON, b"application/ndjson": NDJSON, CSV: CSV}
_COLUMNS = frozenset(ReadingIn.__struct_fields__)
_FIELD_BYTES_MAX = 200

_decode_item = decoder(ReadingIn)
_decode_all = msgspec.json.Decoder(list[ReadingIn]).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_lines = msgspec.json.Decoder(ReadingIn).decode_lines


def items_of(body: bytes, content_type: bytes | None, items_max: int) -> Sequence[Item]:
    """The batch's items in order. Raises `Problem` when it cannot be read as a whole, is empty, or has too many."""
    kind = _KINDS.get((content_type or JSON).split(b";", 1)[0].strip().lower())
    if kind is None:
        raise Problem("unsupported_media_type", "Send application/json (an array), application/x-ndjson or text/csv.")
    shape = _json if kind == JSON else _lines if kind == NDJSON else _table
    items = shape(body, items_max)
    if not items:
        raise Problem("invalid", "The batch is empty.")
    _refuse_too_many(len(items), items_max)
    return items


def _refuse_too_many(items: int, items_max: int) -> None:
    if items > items_max:
        raise Problem("too_large", f"A batch may have at most {items_max} readings; this one has more.")


def _json(body: bytes, items_max: int) -> Sequence[Item]:
    try:
        items = _decode_all(body)
    except (ValueError, RecursionError, OverflowError):
        return _json_one_by_one(body, items_max)
    if _may_repeat_keys(body, len(items)):
        return _json_one_by_one(body, items_max)
    return items


def _json_one_by_one(body: bytes, items_max: int) -> Sequence[Item]:
    try:
        raws = _decode_raw(body)
    except msgspec.ValidationError:
        raise Problem("invalid", "The batch has to be a JSON array of readings.") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise Problem("malformed", f"The body is not valid JSON: {str(error)[:200]}") from None
    _refuse_too_many(len(raws), items_max)  # four million bad items fit into a body: they must not be looked at each
    return [_one(bytes(raw)) for raw in raws]


def _lines(body: bytes, items_max: int) -> Sequence[Item]:
    try:
        items = _decode_lines(body)
    except (ValueError, RecursionError, OverflowError):
        items = None
    if items is None or _may_repeat_keys(body, len(items)):
        filled = (line for line in body.splitlines() if line.strip())
        lines = list(itertools.islice(filled, items_max + 1))
        _refuse_too_many(len(lines), items_max)
        return [_one(line) for line in lines]
    return items


def _one(raw: bytes) -> Item:
    try:
        return _decode_item(raw)
    except Problem as problem:
        return problem


def _may_repeat_keys(body: bytes, items: int) -> bool:
    """A cheap look that may be wrong in one direction only; decoding item by item then decides."""
    return b"\\u" in body or any(body.count(b'"%s"' % name.encode()) > items for name in ReadingIn.__struct_fields__)


def _table(body: bytes, items_max: int) -> Sequence[Item]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem("malformed", f"The CSV is not UTF-8 (byte {error.start}).") from None
    if "\0" in text:
        raise Problem("malformed", "The CSV has a zero byte.")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        unknown = [name for name in header if name not in _COLUMNS]
        if unknown or len(set(header)) != len(header) or not {"device_id", "value"} <= set(header):
            wanted = ", ".join(sorted(_COLUMNS))
            raise Problem(
                "invalid", f"The CSV's first line has to name device_id and value, once each, and may name: {wanted}."
            )
        items: list[Item] = []
        for row in rows:
            if row:
                items.append(_row(header, row))
            if len(items) > items_max:
                break
    except csv.Error as error:
        raise Problem("malformed", f"Line {rows.line_num} of the CSV cannot be read: {error}.") from None
    return items


def _row(header: Sequence[str], row: Sequence[str]) -> Item:
    if len(row) != len(header):
        return Problem("invalid", f"The line has {len(row)} fields, the header {len(header)}.")
    if any(len(text) > _FIELD_BYTES_MAX for text in row):
        return Problem("invalid", f"A field may have at most {_FIELD_BYTES_MAX} characters.")
    given: dict[str, object] = {name: text for name, text in zip(header, row, strict=True) if text != ""}
    if given.get("confirm") in ("true", "false"):
        given["confirm"] = given["confirm"] == "true"
    try:
        return msgspec.convert(given, ReadingIn)
    except msgspec.ValidationError as error:
        return Problem("invalid", f"{str(error)[:200]}.")
