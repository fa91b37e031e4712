"""The three shapes of a batch - JSON array, NDJSON, CSV - become one: slices of items, each a body or a problem.

One bad item never costs the others anything: it is found by decoding item by item, but only after decoding a slice at once
has failed, because that is the usual case and many times faster. Everything is done slice by slice and counted before it
is made, so that eight megabytes of commas cost neither memory nor a standstill.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import msgspec

from energy.wire.bodies import ReadingIn, decoder
from energy.wire.problems import Problem
from energy.wire.tables import body_of, check_header, fields_of

Item = ReadingIn | Problem
_T = TypeVar("_T")

JSON, NDJSON, CSV = b"application/json", b"application/x-ndjson", b"text/csv"
KINDS = {JSON: JSON, NDJSON: NDJSON, b"application/jsonl": NDJSON, b"application/ndjson": NDJSON, CSV: CSV}
_COMMAS_MAX = len(ReadingIn.__struct_fields__)
"""Most commas that one reading adds to an array."""
_ITEM_BYTES_MAX = 16_384
_SLICE_BYTES_MAX = 262_144

_decode_item = decoder(ReadingIn)
_decode_all = msgspec.json.Decoder(list[ReadingIn]).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode


def slices_of(body: bytes, content_type: bytes | None, items_max: int, size: int) -> Iterator[list[Item]]:
    """The batch's items in order, `size` at a time. Raises `Problem` when it cannot be read as a whole or has too many."""
    kind = KINDS.get((content_type or JSON).split(b";", 1)[0].strip().lower())
    if kind is None:
        raise Problem("unsupported_media_type", "Send application/json (an array), application/x-ndjson or text/csv.")
    if kind == CSV:
        yield from _sliced(_rows(body, items_max), items_max, size)
        return
    raws: Iterable[bytes | msgspec.Raw] = _array(body, items_max) if kind == JSON else _lines(body, items_max)
    for slice_ in _sliced(raws, items_max, size):
        yield _decoded(slice_)


def _sliced(items: Iterable[_T], items_max: int, size: int) -> Iterator[list[_T]]:
    items, seen = iter(items), 0
    while slice_ := list(islice(items, size)):
        seen += len(slice_)
        _refuse_too_many(seen, items_max)
        yield slice_


def _refuse_too_many(items: int, items_max: int) -> None:
    if items > items_max:
        raise Problem("too_large", f"A batch may have at most {items_max} readings; this one has more.")


def _array(body: bytes, items_max: int) -> list[msgspec.Raw]:
    _refuse_too_many(body.count(b",") // _COMMAS_MAX, items_max)
    try:
        raws = _decode_raw(body)
    except msgspec.ValidationError:
        raise Problem("invalid", "The batch has to be a JSON array of readings.") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise Problem("malformed", f"The body is not valid JSON: {str(error)[:200]}") from None
    _refuse_too_many(len(raws), items_max)
    return raws


def _lines(body: bytes, items_max: int) -> Iterator[bytes]:
    _refuse_too_many(body.count(b"\n") // 2 - 1, items_max)  # a blank line after each is common
    return (line for line in io.BytesIO(body) if line.strip())


def _decoded(raws: list[bytes | msgspec.Raw]) -> list[Item]:
    together = b"[" + b",".join(raws) + b"]"
    if len(together) > _SLICE_BYTES_MAX:
        return [_one(bytes(raw)) for raw in raws]
    try:
        items = _decode_all(together)
    except (ValueError, RecursionError, OverflowError):
        return [_one(bytes(raw)) for raw in raws]
    if len(items) != len(raws) or _may_repeat_keys(together, len(items)):
        return [_one(bytes(raw)) for raw in raws]
    return list(items)


def _one(raw: bytes) -> Item:
    if len(raw) > _ITEM_BYTES_MAX:
        return Problem("invalid", f"One reading may have at most {_ITEM_BYTES_MAX} bytes.")
    try:
        return _decode_item(raw)
    except Problem as problem:
        return problem


def _may_repeat_keys(body: bytes, items: int) -> bool:
    """A cheap look that may be wrong in one direction only; decoding item by item then decides."""
    return b"\\u" in body or any(body.count(b'"%s"' % name.encode()) > items for name in ReadingIn.__struct_fields__)


def _rows(body: bytes, items_max: int) -> Iterator[Item]:
    _refuse_too_many(body.count(b"\n") // 2 - 1, items_max)
    if b"\0" in body:
        raise Problem("malformed", "The CSV has a zero byte.")
    rows = csv.reader(_text_of(body), strict=True)
    try:
        header = next(rows, [])
        check_header(header)
        for row in rows:
            if row:
                yield _row(header, row)
    except csv.Error as error:
        raise Problem("malformed", f"Line {rows.line_num} of the CSV cannot be read: {error}.") from None


def _text_of(body: bytes) -> Iterator[str]:
    for number, line in enumerate(io.BytesIO(body.removeprefix(b"\xef\xbb\xbf")), start=1):
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise Problem("malformed", f"Line {number} of the CSV is not UTF-8.") from None


def _row(header: list[str], row: list[str]) -> Item:
    try:
        return body_of(fields_of(header, row))
    except Problem as problem:
        return problem
