"""What is scarce is shared: no key gets more than half of it, everything comes back, and nobody has the loop to himself."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from energy.http.shares import Busy, Shares, Turns


def test_one_key_gets_half_and_the_others_the_rest() -> None:
    shares = Shares(8)
    with shares.of("greedy") as greedy, shares.of("modest") as modest:
        greedy(4)
        with pytest.raises(Busy):
            greedy(1)
        modest(3)
        with shares.of("third") as third:
            third(1)
            with pytest.raises(Busy):
                third(1)


def test_what_was_taken_comes_back_whatever_happened() -> None:
    shares = Shares(2)
    for _ in range(5):
        with pytest.raises(Busy), shares.of("a") as take:
            take(2)
        with shares.of("a") as take:
            take(1)
    with shares.of("a") as take:
        take(1)


def test_a_single_place_can_be_had() -> None:
    with Shares(1).of("a") as take:
        take(1)


def test_the_loop_has_one_step_of_long_work_in_each_round() -> None:
    steps: Counter[int] = Counter()
    turn = 0

    async def rounds() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def long_work(turns: Turns) -> None:
        for _ in range(20):
            await turns.next()
            steps[turn] += 1

    async def all_of_them() -> None:
        turns = Turns()
        counting = asyncio.create_task(rounds())
        await asyncio.gather(*(long_work(turns) for _ in range(10)))
        counting.cancel()

    asyncio.run(all_of_them())
    assert (sum(steps.values()), max(steps.values())) == (200, 1)
