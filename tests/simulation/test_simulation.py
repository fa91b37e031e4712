"""The intake keeps every promise in every history that was drawn; and each way to break one is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from simulation import judge, mutants, virtual_loop
from simulation.history import History, play, without_logs
from simulation.judge import broken
from simulation.mutants import Mutant

HISTORIES, AT_A_TIME = 12_000, 3_000
"""About a thousand a second on one free core. `make simulate` plays others for as long as one likes."""
SEEDS_OF_A_MUTANT = 1_000

Promise = Callable[[History], Any]


@pytest.mark.parametrize("first", range(0, HISTORIES, AT_A_TIME))
def test_every_promise_of_the_intake_holds_in_every_history(first: int) -> None:
    with without_logs():
        for seed in range(first, first + AT_A_TIME):
            found = broken(play(seed))
            assert not found, f"to play it again: make simulate SIM_SEED={seed}: {found}"


@pytest.mark.parametrize(
    ("mutant", "promise"),
    [
        (mutants.answers_before_the_commit, judge.no_answer_before_its_commit),
        (mutants.acknowledges_the_unknown, judge.no_answer_before_its_commit),
        (mutants.forgets_what_may_be_stored, judge.outcomes_are_true),
        (mutants.ignores_the_deadline, judge.waits_are_bounded),
        (mutants.lets_a_bad_row_spoil_its_batch, judge.outcomes_are_true),
        (mutants.drops_half_of_a_bad_batch, judge.no_answer_before_its_commit),
        (mutants.does_not_fold_repeats, judge.the_store_gets_each_id_once_and_in_order),
        (mutants.halves_an_atomic_batch, judge.an_atomic_batch_is_stored_whole_or_not),
        (mutants.calls_a_repeat_new, judge.a_reading_is_stored_by_one_request),
        (mutants.swaps_outcomes, judge.outcomes_are_true),
        (mutants.takes_the_newest_first, judge.first_come_first_written),
        (mutants.drops_what_waits_at_the_drain, judge.nothing_is_forgotten_at_the_drain),
        (mutants.sleeps_through_a_wake_up, judge.waits_are_bounded),
        (mutants.looks_now_and_then, judge.an_idle_lane_takes_what_comes),
        (mutants.takes_in_while_draining, judge.nothing_is_forgotten_at_the_drain),
        (mutants.has_no_bound, judge.the_queue_is_bounded),
        (mutants.starts_a_lane_too_many, judge.no_more_writes_than_lanes),
        (mutants.uses_every_lane_always, judge.a_near_database_gets_one_write_at_a_time),
        (mutants.writes_a_device_in_two_lanes, judge.a_device_is_in_one_write_at_a_time),
        (mutants.tells_nobody_that_a_device_is_free, judge.nothing_is_forgotten_at_the_drain),
        (mutants.leaves_answers_behind_at_the_drain, judge.nothing_is_forgotten_at_the_drain),
        (mutants.answers_whoever_hung_up, judge.nothing_is_forgotten_at_the_drain),
        (mutants.answers_only_the_first_of_a_batch, judge.one_outcome_per_reading),
        (mutants.lingers_when_late, judge.waits_are_bounded),
    ],
    ids=lambda part: part.__name__,
)
def test_a_broken_promise_is_seen(mutant: Callable[[], Mutant], promise: Promise) -> None:
    with without_logs(), mutants.in_place(mutant):
        assert any(list(promise(play(seed))) for seed in range(SEEDS_OF_A_MUTANT))


def test_a_seed_plays_the_same_history_again() -> None:
    with without_logs():
        assert [repr(play(seed).sent) for seed in range(20)] == [repr(play(seed).sent) for seed in range(20)]


# ── the clock that jumps ─────────────────────────────────────────────────────────────────────────


def test_sleeping_costs_no_time_and_is_exact() -> None:
    async def sleepers() -> list[str]:
        loop, woken = asyncio.get_running_loop(), list[str]()

        async def sleep(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            woken.append(f"{name} at {loop.time():g}")

        await asyncio.gather(sleep(3600, "late"), sleep(60, "early"), sleep(60, "early too"))
        return woken

    assert virtual_loop.run(sleepers()) == ["early at 60", "early too at 60", "late at 3600"]


def waits_for_nobody() -> Coroutine[Any, Any, None]:
    async def wait() -> None:
        await asyncio.Event().wait()

    return wait()


def test_waiting_for_what_can_never_come_is_seen_at_once() -> None:
    with pytest.raises(virtual_loop.NothingWillHappen):
        virtual_loop.run(waits_for_nobody())
