"""Natural batching, bounds, draining; and a defect costs a batch, never a lane."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from energy.domain.reading import Committed, Outcome, Reading
from energy.ingest.committer import Committer
from energy.ingest.queue import IngestQueue, Overloaded, QueueLimits
from simulation import virtual_loop
from unit.energy.fakes import Clock, ToldStore, a_reading


def a_queue(store: ToldStore, clock: Clock | None = None, **limits: float) -> IngestQueue:
    clock = clock or Clock()
    queue = IngestQueue(Committer(store, clock, clock.sleep), QueueLimits(**limits), clock)  # type: ignore[arg-type]  # counts are whole
    queue.start()
    return queue


async def held(store: ToldStore, queue: IngestQueue) -> asyncio.Future[Outcome]:
    """The first reading is being written and stays there until the gate opens."""
    store.gate = asyncio.Event()
    first = queue.submit(a_reading())
    await store.begun.wait()
    return first


async def test_what_waits_while_a_lane_writes_is_the_next_batch() -> None:
    store = ToldStore()
    queue = a_queue(store, lanes=1)
    first = await held(store, queue)
    rest = [queue.submit(a_reading()) for _ in range(7)]
    assert store.gate
    store.gate.set()
    outcomes = await asyncio.gather(first, *rest)
    assert [len(batch) for batch in store.batches] == [1, 7]
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    await queue.drain()


async def test_a_batch_has_at_most_its_limit() -> None:
    store = ToldStore()
    queue = a_queue(store, lanes=1, batch_rows_max=3)
    await asyncio.gather(*[queue.submit(a_reading()) for _ in range(8)])
    assert [len(batch) for batch in store.batches] == [3, 3, 2]
    await queue.drain()


@pytest.mark.parametrize("lanes", [1, 2, 5])
async def test_there_are_never_more_writes_at_once_than_lanes(lanes: int) -> None:
    store = ToldStore()
    queue = a_queue(store, lanes=lanes, batch_rows_max=1)
    await asyncio.gather(*[queue.submit(a_reading()) for _ in range(50)])
    assert store.writing_max <= lanes
    await queue.drain()


async def test_more_than_may_wait_is_refused_before_any_work() -> None:
    store = ToldStore()
    queue = a_queue(store, lanes=1, rows_max=2)
    first = await held(store, queue)
    waiting = [queue.submit(a_reading()) for _ in range(2)]
    with pytest.raises(Overloaded) as refused:
        queue.submit(a_reading())
    assert refused.value.reason == "queue_full"
    assert store.gate
    store.gate.set()
    await asyncio.gather(first, *waiting)
    assert len(store.stored) == 3
    assert queue.refusal() is None
    await queue.drain()


async def test_when_the_oldest_waits_too_long_nothing_new_is_taken() -> None:
    store, clock = ToldStore(), Clock()
    queue = a_queue(store, clock, lanes=1, age_max_s=2.0)
    first = await held(store, queue)
    second = queue.submit(a_reading())
    clock.now += 2.1
    assert (queue.rows, round(queue.age_s, 1), queue.refusal()) == (1, 2.1, "queue_old")
    with pytest.raises(Overloaded):
        queue.submit(a_reading())
    assert store.gate
    store.gate.set()
    await asyncio.gather(first, second)
    assert queue.refusal() is None
    await queue.drain()


async def test_when_the_full_batches_ahead_would_take_too_long_nothing_new_is_taken() -> None:
    clock = Clock()

    class Slow(ToldStore):
        async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
            clock.now += 0.1
            return await super().append(batch, timeout_s)

    store = Slow()
    queue = a_queue(store, clock, lanes=1, batch_rows_max=5, age_max_s=2.0)
    for _ in range(50):  # it learns what a batch takes
        await queue.submit(a_reading())
    first = await held(store, queue)
    waiting: list[asyncio.Future[Outcome]] = []
    while queue.refusal() is None and len(waiting) < 1_000:
        waiting.append(queue.submit(a_reading()))
    assert queue.age_s == 0.0, "the age of the oldest would have said nothing yet"
    assert 100 <= len(waiting) <= 110  # 2 s at 0.1 s for five
    assert store.gate
    store.gate.set()
    await asyncio.gather(first, *waiting)
    await queue.drain()


async def test_draining_settles_what_waits_and_takes_nothing_new() -> None:
    store = ToldStore()
    queue = a_queue(store, lanes=2, batch_rows_max=2)
    waiting = [queue.submit(a_reading()) for _ in range(9)]
    drained = asyncio.create_task(queue.drain())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        queue.submit(a_reading())
    assert refused.value.reason == "draining"
    await drained
    assert all(future.done() for future in waiting)
    assert len(store.stored) == 9


async def test_a_defect_costs_its_batch_an_error_and_not_the_lane() -> None:
    store = ToldStore(RuntimeError("our own defect"))
    queue = a_queue(store, lanes=1)
    with pytest.raises(RuntimeError, match="our own defect"):
        await queue.submit(a_reading())
    assert isinstance(await queue.submit(a_reading()), Committed)
    await queue.drain()


async def test_a_client_that_hung_up_does_not_disturb_the_others() -> None:
    store = ToldStore()
    queue = a_queue(store, lanes=1)
    first = await held(store, queue)
    gone, waiting = queue.submit(a_reading()), queue.submit(a_reading())
    gone.cancel()
    assert store.gate
    store.gate.set()
    assert isinstance(await waiting, Committed)
    assert isinstance(await first, Committed)
    await queue.drain()


async def test_what_has_waited_for_a_lane_does_not_wait_for_company_as_well() -> None:
    clock, store = Clock(), ToldStore()
    queue = a_queue(store, clock, lanes=1, linger_s=60.0, deadline_s=100.0)
    waiting = queue.submit(a_reading())
    clock.now += 60.0
    assert isinstance(await waiting, Committed)


async def test_readings_of_one_device_are_never_in_two_lanes_at_once() -> None:
    store = ToldStore()
    queue = a_queue(store, lanes=3, batch_rows_max=2)
    store.gate = asyncio.Event()
    device = uuid4()
    first = queue.submit(a_reading("1.000", device=device))
    await store.begun.wait()
    second = queue.submit(a_reading("2.000", device=device))
    other = queue.submit(a_reading())
    for _ in range(5):
        await asyncio.sleep(0)
    assert [[reading.value for reading in batch if reading.device_id == device] for batch in store.batches] == [
        ["1.000"],
        [],
    ], "the other device went ahead in another lane"
    store.gate.set()
    await asyncio.gather(first, second, other)
    assert [reading.value for batch in store.batches for reading in batch if reading.device_id == device] == [
        "1.000",
        "2.000",
    ]
    await queue.drain()


class Timed(ToldStore):
    """Every batch takes so long, on the loop's own clock; the first after `hang` for ever."""

    def __init__(self, took_s: float) -> None:
        super().__init__()
        self.took_s = took_s
        self.hang = False

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        hang, self.hang = self.hang, False
        self.writing += 1
        self.writing_max = max(self.writing, self.writing_max)
        await asyncio.sleep(timeout_s if hang else self.took_s)
        self.writing -= 1
        return await super().append(batch, timeout_s)


def lanes_used(took_s: float, limits: QueueLimits) -> int:
    """At once, in two seconds of a reading a millisecond, after the first quarter of them."""

    async def load() -> int:
        loop, store = asyncio.get_running_loop(), Timed(took_s)
        queue = IngestQueue(Committer(store, loop.time, asyncio.sleep), limits, loop.time)
        queue.start()
        for n in range(2_000):
            if n == 500:
                store.writing_max = 0
            queue.submit(a_reading())
            await asyncio.sleep(0.001)
        await queue.drain()
        return store.writing_max

    return virtual_loop.run(load())


@pytest.mark.parametrize(
    ("took_s", "lanes"), [(0.0005, 1), (0.0015, 1), (0.0025, 2), (0.0056, 5), (0.0511, 8)], ids="{}".format
)
def test_the_lanes_in_use_follow_from_how_long_a_commit_waits(took_s: float, lanes: int) -> None:
    assert lanes_used(took_s, QueueLimits(lanes=8)) == lanes


def test_no_more_lanes_are_in_use_than_are_allowed() -> None:
    assert lanes_used(0.0511, QueueLimits(lanes=3)) == 3


def test_when_whole_batches_wait_all_lanes_write() -> None:
    assert lanes_used(0.003, QueueLimits(lanes=3, batch_rows_max=1)) == 3


def test_a_write_that_hangs_holds_up_nobody_for_long() -> None:
    async def heard_after_s() -> float:
        loop, store = asyncio.get_running_loop(), Timed(0.001)
        queue = IngestQueue(Committer(store, loop.time, asyncio.sleep), QueueLimits(lanes=2), loop.time)
        queue.start()
        await queue.submit(a_reading())
        store.hang = True
        queue.submit(a_reading())
        await asyncio.sleep(0.01)
        began = loop.time()
        await queue.submit(a_reading())
        return loop.time() - began

    assert virtual_loop.run(heard_after_s()) == pytest.approx(0.102)


def test_that_the_database_has_moved_far_away_is_believed_after_a_while() -> None:
    async def load() -> list[int]:
        loop, store = asyncio.get_running_loop(), Timed(0.001)
        queue = IngestQueue(Committer(store, loop.time, asyncio.sleep), QueueLimits(lanes=4), loop.time)
        queue.start()
        used = []
        for took_s in (0.001, 0.020, 0.001):
            store.took_s = took_s
            for n in range(3_000):
                if n == 2_000:
                    store.writing_max = store.writing
                queue.submit(a_reading())
                await asyncio.sleep(0.001)
            used.append(store.writing_max)
        await queue.drain()
        return used

    assert virtual_loop.run(load()) == [1, 4, 1]


async def test_answers_of_a_large_batch_leave_room_for_others_and_for_the_next_batch() -> None:
    store = ToldStore()
    queue = a_queue(store, lanes=1, answers_at_once=10)
    waiting = [queue.submit(a_reading()) for _ in range(100)]
    await waiting[0]
    answered = sum(future.done() for future in waiting)
    next_one = queue.submit(a_reading())
    await next_one
    assert answered <= 20
    assert not waiting[-1].done(), "the lane waited for the answers"
    await asyncio.gather(*waiting)
    await queue.drain()
