"""Objects whose plans take long: they cost neither the lease nor anybody's window, and get their turn.

How long a plan takes is set by the test: on the clock of the loop, not of this machine.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from prescaler.loop import PLANS_MAX_S
from prescaler.plan.planner import Plan, plan
from prescaler.plan.schedule import Schedule
from prescaler.window import declared
from unit.prescaler.rig import BW, INSIDE, Rig
from unit.prescaler.test_too_large import LARGE

PLAN_S = 1.3


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> Counter[int]:
    """How often each heavy object was planned, by its lead time; such a plan takes 1.3 seconds."""
    counted: Counter[int] = Counter()

    def heavy(schedule: Schedule, now: datetime) -> Plan:
        if len(schedule.zones) == 1:
            return plan(schedule, now)
        rig.monotonic_s += PLAN_S
        counted[schedule.lead_s] += 1
        return plan(replace(schedule, zones=schedule.zones[:1], windows=schedule.windows[:1]), now)

    monkeypatch.setattr(declared, "plan", heavy)
    return counted


async def windows(rig: Rig, heavy: int) -> None:
    for number in range(heavy):
        await rig.window(f"h{number}", **(LARGE | {"targetRef": {"name": "none"}, "leadTime": f"{number + 1}m"}))
    await rig.hpa()
    await rig.window("ordinary")


async def test_forty_heavy_objects_delay_an_ordinary_one_by_no_pass(rig: Rig, planned: Counter[int]) -> None:
    await windows(rig, 40)
    rig.at(INSIDE)
    began = rig.monotonic_s
    await rig.loop.tick()
    assert await rig.minimum() == 8
    assert rig.monotonic_s - began <= PLANS_MAX_S + PLAN_S
    assert 0 < sum(planned.values()) < 40


async def test_each_heavy_object_gets_its_turn_and_none_twice_before(rig: Rig, planned: Counter[int]) -> None:
    await windows(rig, 40)
    rig.at(INSIDE)
    for _ in range(40):
        pause_s = await rig.loop.tick()
        if len(planned) == 40:
            break
        assert pause_s <= 1.0, "what waits is not left until the next interval"
    assert set(planned.values()) == {1}
    for number in (0, 39):
        assert (await rig.condition("Ready", f"h{number}"))[1] == "TargetNotFound"
    rig.at(INSIDE + timedelta(days=20))  # no plan holds any longer
    planned.clear()
    await rig.loop.tick()
    first = set(planned)
    await rig.loop.tick()
    assert set(planned.values()) == {1}
    assert set(planned) > first


async def test_an_object_that_waits_for_its_plan_keeps_its_target(rig: Rig, planned: Counter[int]) -> None:
    await rig.window("a-heavy", **LARGE)
    await windows(rig, 8)
    rig.at(INSIDE)
    for _ in range(9):
        await rig.loop.tick()
        assert (await rig.condition("Ready", "ordinary"))[1] == "Conflicted"
    assert planned


@pytest.mark.parametrize("state", ["new", "edited"])
async def test_the_loop_goes_on_while_a_plan_is_made(rig: Rig, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """As the keeper of the lease does: it runs in the same loop and must not wait for a plan."""
    going_on = threading.Event()

    def slow(schedule: Schedule, now: datetime) -> Plan:
        assert going_on.wait(10), "the event loop stood still"
        return plan(schedule, now)

    await rig.hpa()
    await rig.window()
    if state == "edited":
        await rig.tick(INSIDE)
        await rig.edit(BW, "volga", {"spec": {"leadTime": "45m"}})
    monkeypatch.setattr(declared, "plan", slow)
    await asyncio.gather(rig.tick(INSIDE), soon(going_on.set))
    assert await rig.minimum() == 8
    assert (await rig.condition("Ready"))[:2] == ("True", "Applied")


async def soon(call: Callable[[], None]) -> None:
    for _ in range(10):
        await asyncio.sleep(0)
    call()
