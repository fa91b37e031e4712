"""What is judged again, and what a failing store costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from energy.domain.reading import Committed, Outcome, Reading
from energy.ingest import rejudging
from energy.ingest.rejudging import Rejudging
from energy.store.ports import Interrupted, Place
from unit.energy.fakes import a_reading

Id = tuple[UUID, UUID]


class Store:
    """Changes as many readings as it is told to, pass by pass; fails first as often as it is told to."""

    def __init__(self, changes: Sequence[int] = (), failures: int = 0) -> None:
        self.passes: list[list[Id]] = []
        self.places: list[Place] = []
        self.passed = asyncio.Event()
        self._changes = list(changes)
        self._failures = failures

    async def rejudge(self, places: Sequence[Place]) -> int:
        if self._failures:
            self._failures -= 1
            raise Interrupted("away")
        self.places.extend(places)
        self.passes.append([place[:2] for place in places])
        self.passed.set()
        return self._changes.pop(0) if self._changes else 0


class Inner:
    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:  # noqa: ARG002 - the port's
        if self._failure:
            raise self._failure
        return [Committed(reading.read_at.date(), ()) for reading in batch]


async def no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)


def key(reading: Reading) -> Id:
    return reading.device_id, reading.reading_id


async def test_what_may_have_been_stored_is_judged_again_as_well() -> None:
    store, reading = Store(), a_reading()
    again = Rejudging(store, no_sleep)
    with pytest.raises(Interrupted):
        await again.around(Inner(Interrupted("no answer"))).append([reading], 1)
    await again.settle()
    assert store.passes == [[key(reading)]]


async def test_a_correction_has_the_place_of_what_it_corrects_judged_too() -> None:
    store, wrong = Store(), uuid4()
    reading = replace(a_reading(), supersedes=wrong)
    again = Rejudging(store, no_sleep)
    await again.around(Inner()).append([reading], 1)
    await again.settle()
    assert store.passes == [[key(reading), (reading.device_id, wrong)]]


async def test_what_was_just_stored_is_not_looked_up_again() -> None:
    store, reading = Store(), a_reading()
    again = Rejudging(store, no_sleep)
    await again.around(Inner()).append([reading], 1)
    await again.settle()
    assert store.places == [Place(reading.device_id, reading.reading_id, reading.register, reading.read_at)]


async def test_where_a_repeat_was_found_is_asked_of_the_store() -> None:
    store, reading = Store(), a_reading()
    again = Rejudging(store, no_sleep)
    again.remember([reading], [Committed(reading.read_at.date(), (), replayed=True)])
    await again.settle()
    assert store.places == [Place(reading.device_id, reading.reading_id)]


async def test_a_pass_that_changed_something_is_repeated_until_one_does_not() -> None:
    store = Store(changes=[2, 1, 0])
    again = Rejudging(store, no_sleep)
    again.remember([a_reading()])
    await again.settle()
    assert len(store.passes) == 3


async def test_a_failing_store_costs_nothing_but_time() -> None:
    store, reading = Store(failures=3), a_reading()
    again = Rejudging(store, no_sleep)
    again.start()
    again.remember([reading])
    async with asyncio.timeout(5):
        await store.passed.wait()
    await again.stop(1)
    assert store.passes == [[key(reading)]]


async def test_what_waits_is_judged_at_the_end() -> None:
    store, reading = Store(), a_reading()
    again = Rejudging(store, no_sleep)
    again.remember([reading])
    await again.stop(1)
    assert store.passes == [[key(reading)]]


async def test_what_waits_is_bounded_and_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejudging, "WAITING_MAX", 3)
    store, readings = Store(), [a_reading() for _ in range(5)]
    again = Rejudging(store, no_sleep)
    again.remember(readings)
    await again.settle()
    assert store.passes == [[key(reading) for reading in readings[2:]]]
