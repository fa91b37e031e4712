"""The power fails in the middle of load: whatever was acknowledged is there afterwards, once.

A killed process leaves its writes with the kernel; a machine without power leaves only what was flushed to the disk. The
control runs the same with `fsync=off` and has to lose, or these tests would see nothing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import pytest

from energy.store.embedded import EmbeddedPostgres
from fault import killing, power, rounds
from fault.checker import Verdict
from fault.disk import Cut
from fault.power import ForgetfulDisk, MachineWithDisk
from support.service import ServiceProcess, client_of

REQUIRED = "ENERGY_REQUIRE_POWER_CUT"
"""Set in the gate, where a machine that can't cut power is a failure and not a skip."""
pytestmark = pytest.mark.skipif(
    power.missing() is not None and REQUIRED not in os.environ, reason=power.missing() or "power can be cut"
)

FAULTS = (power.power_cut, power.power_cut_for_both)
ROUNDS, CONTROLS = 3, 5
FIGURES = Path(__file__).parents[2] / "build/power-cuts.jsonl"
MANY_ROUNDS = int(os.environ.get("POWER_CUTS", "0"))
OFTEN_AT_A_CHECKPOINT = ("-c checkpoint_timeout=30s", "-c max_wal_size=48MB")


@pytest.fixture
def disk() -> Iterator[ForgetfulDisk]:
    with ForgetfulDisk() as disk:
        yield disk


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineWithDisk]:
    with (
        ForgetfulDisk() as disk,
        closing(MachineWithDisk(tmp_path_factory.mktemp("histories"), disk, *OFTEN_AT_A_CHECKPOINT)) as machine,
    ):
        machine.begin()
        yield machine


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_every_acknowledged_reading_survives_a_power_cut(running: MachineWithDisk, seed: int) -> None:
    await play(running, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_000 + MANY_ROUNDS))
async def test_every_acknowledged_reading_survives_many_power_cuts(running: MachineWithDisk, seed: int) -> None:
    await play(running, seed)


async def play(machine: MachineWithDisk, seed: int) -> None:
    fault = FAULTS[seed % len(FAULTS)]
    verdict = await rounds.play(machine, fault, seed)
    note(fault.__name__, seed, machine.cuts[-1], verdict)
    assert verdict.outcome == "passed", verdict


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] if seed else []) for seed in range(CONTROLS)]
)
async def test_with_fsync_off_a_power_cut_loses_what_was_acknowledged(
    disk: ForgetfulDisk, tmp_path: Path, seed: int
) -> None:
    with closing(MachineWithDisk(tmp_path, disk, "-c fsync=off", allow_unsafe_database=True)) as machine:
        machine.begin()
        verdict = await rounds.play(machine, power.power_cut_with_nothing_kept, seed)
    note("fsync off", seed, machine.cuts[-1], verdict)
    assert verdict.lost, "the checker can't see a loss, or the disk forgets nothing"


def note(round_: str, seed: int, cut: Cut, verdict: Verdict) -> None:
    """Keeps the figures of a round; those of the verdict count from the first round on the same database."""
    FIGURES.parent.mkdir(exist_ok=True)
    said = {"sent": verdict.sent, "acknowledged": verdict.acknowledged, "unknown": verdict.unknown, **verdict.broken}
    with FIGURES.open("a") as lines:
        lines.write(json.dumps({"round": round_, "seed": seed, **asdict(cut), **said}) + "\n")


def test_the_first_reading_of_a_new_embedded_database_survives_a_power_cut(disk: ForgetfulDisk) -> None:
    home, device = disk.root / "first", str(uuid4())
    home.mkdir()
    with ServiceProcess(data_dir=home / "data") as service, client_of(service) as client:
        assert client.post("/v1/values", json={"device_id": device, "value": 1}).status_code == 201
        running = killing.processes_of(EmbeddedPostgres(home / "data"))
        disk.cut(random.Random(1), kept_share=0.0)  # noqa: S311 - nothing of it is by chance
        killing.kill_service(service)
        killing.kill_with_children(running)
    disk.power_on()
    with ServiceProcess(data_dir=home / "data") as service, client_of(service) as client:
        items = client.get(f"/v1/devices/{device}/readings").json()["items"]
        assert [float(item["value"]) for item in items] == [1.0]
    shutil.rmtree(home)
