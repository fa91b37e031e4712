"""The three shapes of a batch - JSON array, NDJSON, CSV - become one: slices of items, each a body or a problem.

One bad item never costs the others anything: it is found by decoding item by item, but only after decoding a slice at once
has failed, because that is the usual case and many times faster. Everything is done slice by slice, counted before it is
made and bounded in bytes, so that eight megabytes of commas, or of one item, cost neither memory nor a standstill.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
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
_SLICE_BYTES_MAX = 65_536
_PIECE_BYTES = 65_536
_PIECE_BYTES_MAX = 524_288
"""A piece of an array that cannot be read at this size has an item that is too long, or is not JSON."""
_BORDER = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
"""Where an item may end; within a text it may not, and then what is before it cannot be read."""

_decode_item = decoder(ReadingIn)
_decode_all = msgspec.json.Decoder(list[ReadingIn]).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode


def kind_of(content_type: bytes | None) -> bytes:
    """Which of the three it is. Raises `Problem`."""
    kind = KINDS.get((content_type or JSON).split(b";", 1)[0].strip().lower())
    if kind is None:
        raise Problem("unsupported_media_type", "Send application/json (an array), application/x-ndjson or text/csv.")
    return kind


def counter(kind: bytes, items_max: int) -> Callable[[bytes], None]:
    """Is told each part of a body before the next is unpacked; raises `Problem` as soon as there must be too many items."""
    sign, each = (b",", _COMMAS_MAX) if kind == JSON else (b"\n", 2)  # a blank line after each is common
    seen = 0

    def look(part: bytes) -> None:
        nonlocal seen
        seen += part.count(sign)
        _refuse_too_many(seen // each - 1, items_max)

    return look


def slices_of(body: bytes, kind: bytes, items_max: int, size: int) -> Iterator[list[Item]]:
    """The batch's items in order, at most `size` at a time. Raises `Problem` when it cannot be read as a whole or has too many."""
    if kind == CSV:
        yield from _counted(_sliced(_rows(body), size, lambda _row: 0), items_max)
        return
    raws: Iterable[bytes | msgspec.Raw] = _array(body) if kind == JSON else _lines(body)
    for slice_ in _counted(_sliced(raws, size, len), items_max):
        yield _decoded(slice_)


def slices_of_array(body: bytes, size: int) -> Iterator[list[msgspec.Raw]]:
    """The items of a JSON array of anything, unread, at most `size` at a time. Raises `Problem` when it is none."""
    return _sliced(_array(body), size, len)


def _sliced(items: Iterable[_T], size: int, bytes_of: Callable[[_T], int]) -> Iterator[list[_T]]:
    slice_: list[_T] = []
    held = 0
    for item in items:
        slice_.append(item)
        held += bytes_of(item)
        if len(slice_) >= size or held >= _SLICE_BYTES_MAX:
            yield slice_
            slice_, held = [], 0
    if slice_:
        yield slice_


def _counted(slices: Iterable[list[_T]], items_max: int) -> Iterator[list[_T]]:
    seen = 0
    for slice_ in slices:
        seen += len(slice_)
        _refuse_too_many(seen, items_max)
        yield slice_


def _refuse_too_many(items: int, items_max: int) -> None:
    if items > items_max:
        raise Problem("too_large", f"A batch may have at most {items_max} readings; this one has more.")


def _array(body: bytes) -> Iterator[msgspec.Raw]:
    """The array's items. Read a piece at a time; one that ends within an item cannot be read and is tried again longer."""
    start, size, opening = 0, _PIECE_BYTES, b""
    while len(body) - start > size:
        border = _BORDER.search(body, start + size, start + 2 * size)
        raws = _raws(opening + body[start : border.start() + 1] + b"]") if border else None
        if border and isinstance(raws, list):
            yield from raws
            start, size, opening = border.end() - 1, _PIECE_BYTES, b"["
        elif size < _PIECE_BYTES_MAX:
            size *= 2
        else:
            raise Problem(
                "malformed", f"The body is not valid JSON, or an item is longer than {_ITEM_BYTES_MAX} bytes."
            )
    raws = _raws(opening + body[start:])
    if isinstance(raws, Problem):
        raise raws
    yield from raws


def _raws(array: bytes) -> list[msgspec.Raw] | Problem:
    try:
        return _decode_raw(array)
    except msgspec.ValidationError:
        return Problem("invalid", "The body has to be a JSON array.")
    except (ValueError, RecursionError, OverflowError) as error:
        return Problem("malformed", f"The body is not valid JSON: {str(error)[:200]}")


def _lines(body: bytes) -> Iterator[bytes]:
    return (line for line in io.BytesIO(body) if len(line) > _ITEM_BYTES_MAX or line.strip())


def _decoded(raws: list[bytes | msgspec.Raw]) -> list[Item]:
    if sum(map(len, raws)) > _SLICE_BYTES_MAX + _ITEM_BYTES_MAX:
        return [_one(raw) for raw in raws]
    together = b"[" + b",".join(raws) + b"]"
    try:
        items = _decode_all(together)
    except (ValueError, RecursionError, OverflowError):
        return [_one(raw) for raw in raws]
    if len(items) != len(raws) or _may_repeat_keys(together, len(items)):
        return [_one(raw) for raw in raws]
    return list(items)


def _one(raw: bytes | msgspec.Raw) -> Item:
    if len(raw) > _ITEM_BYTES_MAX:
        return Problem("invalid", f"One reading may have at most {_ITEM_BYTES_MAX} bytes.")
    try:
        return _decode_item(bytes(raw))
    except Problem as problem:
        return problem


def _may_repeat_keys(body: bytes, items: int) -> bool:
    """A cheap look that may be wrong in one direction only; decoding item by item then decides."""
    return b"\\u" in body or any(body.count(b'"%s"' % name.encode()) > items for name in ReadingIn.__struct_fields__)


def _rows(body: bytes) -> Iterator[Item]:
    if b"\0" in body:
        raise Problem("malformed", "The CSV has a zero byte.")
    lines = _Lines(body)
    rows = csv.reader(lines, strict=True)
    try:
        header = next(rows, [])
        check_header(header)
        for row in rows:
            lines.row_bytes = 0
            if row:
                yield _row(header, row)
    except csv.Error as error:
        raise Problem("malformed", f"Line {rows.line_num} of the CSV cannot be read: {error}.") from None


class _Lines:
    """The lines of a CSV. Those of one row together are bounded: within quotes it may have any number of them."""

    def __init__(self, body: bytes) -> None:
        self._lines = enumerate(io.BytesIO(body.removeprefix(b"\xef\xbb\xbf")), start=1)
        self.row_bytes = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        self.row_bytes += len(line)
        if self.row_bytes > _ITEM_BYTES_MAX:
            raise Problem("malformed", f"The CSV's row at line {number} has more than {_ITEM_BYTES_MAX} bytes.")
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise Problem("malformed", f"Line {number} of the CSV is not UTF-8.") from None


def _row(header: list[str], row: list[str]) -> Item:
    try:
        return body_of(fields_of(header, row))
    except Problem as problem:
        return problem
