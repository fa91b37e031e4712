"""What is scarce is shared: no key gets more than half of it, and everything comes back."""

from __future__ import annotations

import pytest

from energy.http.shares import Busy, Shares


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
