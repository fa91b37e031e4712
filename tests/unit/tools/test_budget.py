"""The instruction budget: when it complains, and whether it says where a cost came from."""

from __future__ import annotations

import pytest

from tools.bench.budget import Counts, build, complaints, python

BEFORE = {"energy/http/app.py Application.__call__": 100.0, "energy/wire/bodies.py decimal_text": 100.0}
BASELINE = {"bytecodes": {python(): BEFORE}, "instructions": {build(): 1_000}}


@pytest.mark.parametrize(
    ("steps", "instructions", "complains"),
    [
        pytest.param(100.0, 1_000, False, id="the same"),
        pytest.param(105.0, 1_020, False, id="2.5 and 2 % more"),
        pytest.param(107.0, 1_000, True, id="3.5 % more bytecodes"),
        pytest.param(100.0, 1_031, True, id="3.1 % more instructions, as C code costs them"),
        pytest.param(50.0, 500, False, id="half"),
        pytest.param(100.0, 0, False, id="valgrind is not installed"),
    ],
)
def test_a_reading_may_cost_three_per_cent_more_at_most(steps: float, instructions: float, *, complains: bool) -> None:
    now = Counts({**BEFORE, "energy/wire/bodies.py decimal_text": steps}, instructions)
    assert bool(complaints(now, BASELINE)) == complains


def test_the_budget_says_which_function_costs_more() -> None:
    now = Counts({"energy/http/app.py Application.__call__": 100.0, "energy/new.py slow": 150.0}, 1_000)
    first, *rest = complaints(now, BASELINE)
    assert first == "a reading costs 250 bytecodes, +25.0% against 200"
    assert [line.split("  ")[-1] for line in rest] == ["energy/new.py slow", "energy/wire/bodies.py decimal_text"]


def test_another_build_of_the_interpreter_is_not_compared() -> None:
    assert complaints(Counts(BEFORE, 9_999), {"bytecodes": {"3.99": {}}, "instructions": {"another": 1}}) == []
