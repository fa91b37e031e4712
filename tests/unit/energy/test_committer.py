"""Every reading gets an outcome, whatever the database does meanwhile."""

from __future__ import annotations

import random
from collections import Counter
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from energy.domain.reading import Committed, Conflicting, Doubtful, Reading, Undecided, Unstorable
from energy.ingest.committer import RETRY_NEEDS_S, AtomicCommitter, Committer
from energy.store.ports import ROWS_AT_A_TIME, BatchStore, Interrupted, NotAll, Poisoned, Unavailable
from simulation.world import DOUBTFUL, PERIOD, Database, SimulatedStore
from unit.energy.fakes import Clock, ToldStore, a_reading

SOON = 110.0


def committer(store: BatchStore, clock: Clock | None = None, *, atomic: bool = False) -> Committer:
    clock = clock or Clock()
    return (AtomicCommitter if atomic else Committer)(store, clock, clock.sleep)


@given(size=st.integers(1, 60), bad=st.sets(st.integers(0, 59)))
async def test_poison_rows_fail_alone(size: int, bad: set[int]) -> None:
    readings = [a_reading() for _ in range(size)]
    poison = {readings[index].reading_id for index in bad if index < size}
    store = ToldStore(poison=lambda reading: reading.reading_id in poison)
    outcomes = await committer(store).commit(readings, SOON)
    for reading, outcome in zip(readings, outcomes, strict=True):
        assert isinstance(outcome, Unstorable if reading.reading_id in poison else Committed)
    assert {reading_id for _, reading_id in store.stored} == {r.reading_id for r in readings} - poison


async def test_one_poison_row_of_a_thousand_costs_few_statements() -> None:
    readings = [a_reading() for _ in range(1000)]
    store = ToldStore(poison=lambda reading: reading is readings[537])
    await committer(store).commit(readings, SOON)
    assert len(store.batches) <= 2 * 10 + 1


async def test_an_interrupted_batch_is_sent_again_as_it_was() -> None:
    readings = [a_reading() for _ in range(5)]
    store = ToldStore(Interrupted("40001"), Interrupted("connection lost"), Unavailable("no connection"))
    outcomes = await committer(store).commit(readings, SOON)
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    assert len(store.batches) == 4
    assert all(batch == store.batches[0] for batch in store.batches)


async def test_batches_are_sorted_by_key_so_that_two_cannot_deadlock() -> None:
    readings = [a_reading() for _ in range(50)]
    store = ToldStore()
    await committer(store).commit(readings, SOON)
    keys = [(r.device_id, r.reading_id) for r in store.batches[0]]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("faults", "maybe_stored"),
    [([Unavailable("")], False), ([Interrupted("")], True), ([Interrupted(""), Unavailable("")], True)],
    ids=["never reached the database", "reached it", "reached it once"],
)
async def test_at_the_deadline_an_unknown_outcome_is_told_as_such(
    faults: list[Exception], *, maybe_stored: bool
) -> None:
    clock = Clock()
    store = ToldStore(*faults, *[Unavailable("")] * 1000)
    outcomes = await committer(store, clock).commit([a_reading(), a_reading()], SOON)
    assert outcomes == [Undecided(maybe_stored=maybe_stored)] * 2
    assert SOON - RETRY_NEEDS_S <= clock.now <= SOON + 0.01
    assert min(store.timeouts_s) > RETRY_NEEDS_S, "a retry that is cut off would make a certain answer an uncertain one"


async def test_what_may_be_stored_is_not_forgotten_while_the_bad_row_is_sought() -> None:
    store = ToldStore(Interrupted(""), Poisoned("bad"), *[Unavailable("")] * 1000)
    outcomes = await committer(store).commit([a_reading(), a_reading()], SOON)
    assert outcomes == [Undecided(maybe_stored=True)] * 2


async def test_retries_wait_longer_and_longer_and_not_in_step() -> None:
    pauses: list[list[float]] = []
    for _ in range(2):
        clock = Clock()
        waits: list[float] = []

        async def sleep(seconds: float, clock: Clock = clock, waits: list[float] = waits) -> None:
            waits.append(seconds)
            await clock.sleep(seconds)

        await Committer(ToldStore(*[Interrupted("")] * 8), clock, sleep).commit([a_reading()], SOON)
        pauses.append(waits)
    assert pauses[0][-1] > 5 * pauses[0][0]
    assert pauses[0] != pauses[1]


async def test_a_poison_row_in_an_interrupted_batch_is_still_found() -> None:
    readings = [a_reading() for _ in range(4)]
    store = ToldStore(Interrupted(""), poison=lambda reading: reading is readings[2])
    outcomes = await committer(store).commit(readings, SOON)
    assert [isinstance(outcome, Committed) for outcome in outcomes] == [True, True, False, True]


async def test_duplicates_in_a_batch_are_one_row_and_the_second_a_replay() -> None:
    one = a_reading()
    store = ToldStore()
    outcomes = await committer(store).commit([one, replace(one), a_reading()], SOON)
    assert [outcome.replayed for outcome in outcomes if isinstance(outcome, Committed)] == [False, True, False]
    assert len(store.batches[0]) == 2


async def test_of_two_contents_under_one_id_the_first_wins() -> None:
    device, reading_id = uuid4(), uuid4()
    first = a_reading("1.000", device=device, reading_id=reading_id)
    second = a_reading("2.000", device=device, reading_id=reading_id)
    store = ToldStore()
    outcomes = await committer(store).commit([first, second], SOON)
    assert isinstance(outcomes[0], Committed)
    assert isinstance(outcomes[1], Conflicting)
    assert [r.value for r in store.stored.values()] == ["1.000"]


async def test_a_repeat_beside_another_content_of_its_id_is_still_a_repeat() -> None:
    kept = a_reading("1.000")
    changed = replace(kept, value="2.000")
    store = SimulatedStore(Database(random.Random(1), 0.0, (), 0.0), "queue")  # noqa: S311 - nothing is left to chance
    await committer(store).commit([kept], SOON)
    outcomes = await committer(store).commit([changed, kept], SOON)
    assert isinstance(outcomes[0], Conflicting)
    assert outcomes[1] == Committed(PERIOD, (), replayed=True)


async def test_what_is_wrong_with_one_content_is_not_said_of_another() -> None:
    doubtful = replace(a_reading("1.000"), source=DOUBTFUL)
    other = replace(doubtful, value="2.000", source="meter")
    store = SimulatedStore(Database(random.Random(1), 0.0, (), 0.0), "queue")  # noqa: S311 - nothing is left to chance
    outcomes = await committer(store).commit([doubtful, other], SOON)
    assert isinstance(outcomes[0], Doubtful)
    assert isinstance(outcomes[1], Unstorable)


async def test_an_atomic_batch_is_never_halved() -> None:
    readings: list[Reading] = [a_reading() for _ in range(8)]
    store = ToldStore(poison=lambda reading: reading is readings[3])
    with pytest.raises(NotAll):
        await committer(store, atomic=True).commit(readings, SOON)
    assert (len(store.batches), store.stored) == (1, {})


async def test_an_atomic_batch_with_two_contents_under_one_id_is_not_sent() -> None:
    device, reading_id = uuid4(), uuid4()
    store = ToldStore()
    readings = [a_reading(value, device=device, reading_id=reading_id) for value in ("1.000", "2.000")]
    with pytest.raises(NotAll):
        await committer(store, atomic=True).commit(readings, SOON)
    assert store.batches == []


async def test_the_reason_of_the_database_is_kept() -> None:
    outcomes = await committer(ToldStore(Poisoned("value out of range"))).commit([a_reading()], SOON)
    assert outcomes == [Unstorable("value out of range")]


class CountedId:
    """An id that notes in which step it was looked at."""

    def __init__(self, looked: Counter[int], steps: list[None]) -> None:
        self._int, self._looked, self._steps = uuid4().int, looked, steps

    @property
    def int(self) -> int:
        self._looked[len(self._steps)] += 1
        return self._int


async def test_a_long_atomic_batch_is_sorted_and_answered_in_steps() -> None:
    looked: Counter[int] = Counter()
    steps: list[None] = []
    readings = [replace(a_reading(), device_id=CountedId(looked, steps)) for _ in range(4 * ROWS_AT_A_TIME)]
    store = ToldStore()

    async def turn(_seconds: float) -> None:
        steps.append(None)

    outcomes = await AtomicCommitter(store, Clock(), turn).commit([*readings, readings[0]], SOON)
    assert len(outcomes) == len(readings) + 1
    assert max(looked.values()) == ROWS_AT_A_TIME
    assert len(steps) == 5 + 4 + 4 + 5  # folding, merging, the rows' outcomes, the readings' outcomes
    assert len({id(reading) for reading in store.batches[0]}) == len(readings)
