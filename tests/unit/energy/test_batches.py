"""Bodies that are small on the wire and large in memory: what they cost is bounded before it is spent."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from energy.wire import batches
from energy.wire.batches import CSV, JSON, NDJSON, counter, slices_of
from energy.wire.bodies import ReadingIn, decoder
from energy.wire.problems import Problem
from unit.energy.fakes import unpacked

BODY_BYTES = 8 * 2**20
ITEMS_MAX = 10_000
STEP_CPU_S = 0.1
"""Far above what a step takes, so that a busy machine fails nothing, and far below what one took before: 0.4 s."""

ZEROS = b"[" + b"0," * (BODY_BYTES // 2 - 2) + b"0]"
LINES = b"device_id,value\n" + b"\n" * (BODY_BYTES - 20)
GOOD = {"device_id": str(uuid4()), "value": "10432.5"}


def steps(body: bytes, kind: bytes) -> tuple[str, float]:
    """The code of the refusal, or nothing, and the longest step in seconds of this thread's own work."""
    slices = counted_slices(body, kind)
    gc.disable()  # the service has frozen what is loaded; here all of pytest would be looked at
    try:
        return _timed(slices)
    finally:
        gc.enable()


def counted_slices(body: bytes, kind: bytes) -> Iterator[object]:
    """As a batch goes: counted part by part, then read slice by slice."""
    look = counter(kind, ITEMS_MAX)
    for at in range(0, len(body), 65_536):
        look(body[at : at + 65_536])
        yield at
    yield from slices_of(body, kind, ITEMS_MAX, 200)


def _timed(slices: Iterator[object]) -> tuple[str, float]:
    longest_s, code = 0.0, ""
    while True:
        began = time.thread_time()
        try:
            next(slices)
        except StopIteration:
            return code, longest_s
        except Problem as problem:
            code = problem.code
        longest_s = max(longest_s, time.thread_time() - began)


STEP_BYTES_MAX = {"_decode_raw": 1_100_000, "_decode_all": 100_000, "_decode_item": 100_000}
TEXT = b"},{" + b"a" * 300
LONG = b'{"device_id":"%s","value":1,"value":1%s}' % (str(uuid4()).encode(), b" " * 16_000)
BODIES = [
    pytest.param(ZEROS, JSON, "too_large", id="four million zeros"),
    pytest.param(LINES, CSV, "too_large", id="eight million empty lines of CSV"),
    pytest.param(LINES, NDJSON, "too_large", id="eight million empty lines of JSON"),
    pytest.param(b"[" * BODY_BYTES, JSON, "malformed", id="eight million brackets"),
    pytest.param(b"[" + b"0," * 9_998 + b"0]", JSON, "", id="as many bad items as are allowed"),
    pytest.param(
        b'[{"device_id":"' + b"\\u0061" * 1_000_000 + b'"}]', JSON, "malformed", id="one item of six megabytes"
    ),
    pytest.param(b'{"device_id":"' + b"\\u0061" * 1_000_000 + b'"}\n', NDJSON, "", id="one line of six megabytes"),
    pytest.param(b'[{"device_id":"' + TEXT * 25_000 + b'"}]', JSON, "malformed", id="borders within a text"),
    pytest.param(b"[" + b",".join([LONG] * 500) + b"]", JSON, "", id="long items that repeat a key"),
    pytest.param(b"\n".join([LONG] * 500), NDJSON, "", id="long lines that repeat a key"),
    pytest.param(b"device_id,value\n" + b"," * BODY_BYTES, CSV, "malformed", id="eight million fields of CSV"),
    pytest.param(
        b"device_id,value\n" + (b'"' + b"a" * 600 + b'\n",') * 12_000, CSV, "malformed", id="a row of many lines"
    ),
]


@pytest.mark.parametrize(("body", "kind", "code"), BODIES)
def test_no_batch_costs_more_than_its_limits_allow(body: bytes, kind: bytes, code: str) -> None:
    tracemalloc.start()
    try:
        refused, _ = steps(body, kind)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (refused, peak_bytes < 3 * BODY_BYTES) == (code, True), peak_bytes
    assert steps(body, kind)[1] < STEP_CPU_S


@pytest.mark.parametrize(("body", "kind", "_code"), BODIES)
def test_a_step_reads_a_bounded_part_of_the_batch(
    body: bytes, kind: bytes, _code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in bytes, not in time: a megabyte is read in about a millisecond, or in three where it is wrong."""
    read = dict.fromkeys(STEP_BYTES_MAX, 0)
    for name in read:
        decode = getattr(batches, name)

        def counted(raw: bytes, name: str = name, decode: Callable[[bytes], object] = decode) -> object:
            read[name] += len(raw)
            assert read[name] < STEP_BYTES_MAX[name]
            return decode(raw)

        monkeypatch.setattr(batches, name, counted)
    slices = counted_slices(body, kind)
    with contextlib.suppress(Problem, StopIteration):
        while True:
            next(slices)
            read.update(dict.fromkeys(read, 0))


def test_a_body_that_repeats_a_key_is_refused_at_once() -> None:
    members = ", ".join([f'"k{n}": 1' for n in range(50_000)] + ['"k1": 2'])
    body = json.dumps(GOOD)[:-1].encode() + b', "value": 1, ' + members.encode() + b"}"
    began = time.thread_time()
    with pytest.raises(Problem):
        decoder(ReadingIn)(body)
    assert time.thread_time() - began < STEP_CPU_S


@pytest.mark.parametrize("kind", [JSON, NDJSON, CSV])
def test_a_large_batch_comes_out_whole_and_in_order(kind: bytes) -> None:
    values = [str(n) for n in range(1_000)]
    items = [{**GOOD, "value": value} for value in values]
    body = {
        JSON: json.dumps(items),
        NDJSON: "\r\n\r\n".join(map(json.dumps, items)),
        CSV: "device_id,value\r\n\r\n" + "".join(f"{item['device_id']},{item['value']}\r\n" for item in items),
    }[kind]
    found = [item for slice_ in slices_of(body.encode(), kind, 1_000, 300) for item in slice_]
    assert [item.value for item in found if isinstance(item, ReadingIn)] == values


def test_a_gzip_stream_may_have_several_members() -> None:
    parts = [gzip.compress(part) for part in (b"one", b"", b"two" * 100_000)]
    assert asyncio.run(unpacked(b"".join(parts))) == b"one" + b"two" * 100_000


def test_a_gzip_stream_of_empty_members_is_refused() -> None:
    with pytest.raises(Problem) as refused:
        asyncio.run(unpacked(gzip.compress(b"") * 20_000))
    assert refused.value.code == "too_large"


def test_a_bomb_lets_others_run_while_it_is_unpacked() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def both() -> None:
        running = asyncio.create_task(others())
        await unpacked(gzip.compress(b"0" * BODY_BYTES))
        running.cancel()

    asyncio.run(both())
    assert turns > 50


@pytest.mark.parametrize(("kind", "bomb"), [(CSV, b"\n" * BODY_BYTES), (JSON, ZEROS)], ids=["CSV", "JSON"])
def test_a_bomb_is_unpacked_no_further_than_it_can_be_a_batch(kind: bytes, bomb: bytes) -> None:
    look, parts = counter(kind, ITEMS_MAX), []

    def noted(part: bytes) -> None:
        parts.append(part)
        look(part)

    with pytest.raises(Problem) as refused:
        asyncio.run(unpacked(gzip.compress(bomb), look=noted))
    assert (refused.value.code, sum(map(len, parts)) < 300_000) == ("too_large", True)
