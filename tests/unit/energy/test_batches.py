"""Bodies that are small on the wire and large in memory: what they cost is bounded before it is spent."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import time
import tracemalloc
from collections.abc import Iterator
from uuid import uuid4

import pytest

from energy.http.body import unpack
from energy.wire.batches import CSV, JSON, NDJSON, slices_of
from energy.wire.bodies import ReadingIn, decoder
from energy.wire.problems import Problem

BODY_BYTES = 8 * 2**20
ITEMS_MAX = 10_000
STEP_CPU_S = 0.1
"""Far above what a step takes, so that a busy machine fails nothing, and far below what one took before: 0.4 s."""

ZEROS = b"[" + b"0," * (BODY_BYTES // 2 - 2) + b"0]"
LINES = b"device_id,value\n" + b"\n" * (BODY_BYTES - 20)
GOOD = {"device_id": str(uuid4()), "value": "10432.5"}


def steps(body: bytes, kind: bytes) -> tuple[str, float]:
    """The code of the refusal, or nothing, and the longest step in seconds of this thread's own work."""
    slices = slices_of(body, kind, ITEMS_MAX, 200)
    gc.disable()  # the service has frozen what is loaded; here all of pytest would be looked at
    try:
        return _timed(slices)
    finally:
        gc.enable()


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


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        pytest.param(ZEROS, JSON, "too_large", id="four million zeros"),
        pytest.param(LINES, CSV, "too_large", id="eight million empty lines of CSV"),
        pytest.param(LINES, NDJSON, "too_large", id="eight million empty lines of JSON"),
        pytest.param(b"[" * BODY_BYTES, JSON, "malformed", id="eight million brackets"),
        pytest.param(b"[" + b"0," * 9_998 + b"0]", JSON, "", id="as many bad items as are allowed"),
        pytest.param(b'[{"device_id":"' + b"\\u0061" * 1_000_000 + b'"}]', JSON, "", id="one item of six megabytes"),
    ],
)
def test_no_batch_costs_more_than_its_limits_allow(body: bytes, kind: bytes, code: str) -> None:
    tracemalloc.start()
    try:
        refused, _ = steps(body, kind)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (refused, peak_bytes < 3 * BODY_BYTES) == (code, True), peak_bytes
    assert steps(body, kind)[1] < STEP_CPU_S


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
    assert asyncio.run(unpack(b"".join(parts), b"gzip", BODY_BYTES)) == b"one" + b"two" * 100_000


def test_a_bomb_lets_others_run_while_it_is_unpacked() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def both() -> None:
        running = asyncio.create_task(others())
        await unpack(gzip.compress(b"0" * BODY_BYTES), b"gzip", BODY_BYTES)
        running.cancel()

    asyncio.run(both())
    assert turns > 50
