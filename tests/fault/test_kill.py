"""kill -9 in the middle of load: whatever was acknowledged is there afterwards, once."""

from __future__ import annotations

import os
import random

import pytest

from fault import rounds
from fault.rounds import Fault, Machine

ROUNDS: list[tuple[int, Fault]] = [
    *((seed, rounds.service_killed) for seed in range(100, 104)),
    *((seed, rounds.postgres_killed) for seed in range(200, 206)),
    *((seed, rounds.postgres_killed_for_long) for seed in range(300, 301)),
    *((seed, rounds.postmaster_killed) for seed in range(400, 403)),
    *((seed, rounds.backend_killed) for seed in range(500, 506)),
    *((seed, rounds.both_killed) for seed in range(600, 601)),
]
FAULTS = sorted({fault for _, fault in ROUNDS}, key=lambda fault: fault.__name__)


@pytest.fixture(scope="module")
def running(machine: Machine) -> Machine:
    machine.begin()
    return machine


@pytest.mark.parametrize(("seed", "fault"), [pytest.param(s, f, id=f"{f.__name__}-{s}") for s, f in ROUNDS])
async def test_every_acknowledged_reading_survives(running: Machine, fault: Fault, seed: int) -> None:
    verdict = await rounds.play(running, fault, seed)
    assert verdict.outcome == "passed", verdict


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_000 + int(os.environ.get("FAULT_SEEDS", "0"))))
async def test_every_acknowledged_reading_survives_whatever_the_seed_breaks(running: Machine, seed: int) -> None:
    fault = random.Random(seed).choice(FAULTS)  # noqa: S311 - to be repeated, not to be secret
    verdict = await rounds.play(running, fault, seed)
    assert verdict.outcome == "passed", verdict
