"""A schedule that would take everybody's time: it costs its own object, and a large but honest one is planned at once."""

import time
from datetime import date, timedelta
from typing import Any

import pytest

from prescaler.plan.occurrences import TooLargeError, without_effect
from prescaler.plan.planner import plan
from prescaler.window.spec import parse
from unit.prescaler.rig import INSIDE, QUIET, SPEC, Rig

ZONES = [
    "Europe/Kaliningrad", "Europe/Moscow", "Europe/Samara", "Asia/Yekaterinburg", "Asia/Omsk", "Asia/Krasnoyarsk",
    "Asia/Irkutsk", "Asia/Yakutsk", "Asia/Vladivostok", "Asia/Magadan", "Asia/Kamchatka", "Asia/Kathmandu",
]  # fmt: skip
PEAKS = [{"from": f"{hour:02}:00", "to": f"{hour + 1:02}:30", "minReplicas": 50 + hour} for hour in range(8)]
LARGE: dict[str, Any] = SPEC | {
    "timeZones": ZONES,
    "windows": [
        {"name": f"w{n}", "fromDay": n + 1, "toDay": n + 10, "minReplicas": 5 + n, "peaks": PEAKS} for n in range(16)
    ],
    "rampUp": {"duration": "20m", "steps": 4},
    "rampDown": {"duration": "1h", "steps": 2},
}
STAIRS = {"duration": "7d", "steps": 100}
EXTENDS = [
    {
        "date": f"{date(2027, 1, 1) + timedelta(days=n)}",
        "action": "Extend",
        "until": f"{date(2027, 10, 1) + timedelta(n)}",
    }
    for n in range(200)
]
CPU_S = 5.0  # several times what is needed: this machine may be slow


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"leadTime": "7d", "rampUp": STAIRS, "rampDown": STAIRS}, id="stairs of a hundred steps"),
        pytest.param({"exceptions": EXTENDS}, id="two hundred long extensions"),
    ],
)
async def test_a_schedule_too_large_to_be_planned_costs_its_object_only(rig: Rig, changes: dict[str, Any]) -> None:
    await rig.hpa()
    await rig.window()
    await rig.hpa("large")
    await rig.window("large", **(LARGE | changes | {"targetRef": {"name": "large"}}))
    began = time.process_time()
    await rig.tick(INSIDE)
    assert time.process_time() - began < CPU_S
    assert await rig.minimum() == 8
    status, reason, message = await rig.condition("Ready", "large")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "the schedule is too large" in message
    await rig.delete("apis/prescaler.energy-readings.dev/v1alpha1 billingwindows", "large")


def test_every_zone_of_a_country_and_many_peaks_are_planned_at_once() -> None:
    schedule = parse(LARGE, rules=True).schedule()
    began = time.process_time()
    assert len(plan(schedule, QUIET).openings) > 40
    assert time.process_time() - began < CPU_S


def test_a_full_list_of_exceptions_is_judged_at_once() -> None:
    """As many as a ConfigMap may hold, all of them extensions that follow one another."""
    spec = parse(LARGE)
    more = [parse(LARGE | {"exceptions": EXTENDS}).exceptions[n % 200] for n in range(2)]
    schedule = spec.schedule([*parse(LARGE | {"exceptions": EXTENDS}).exceptions] * 10 + more)
    began = time.process_time()
    without_effect(schedule)
    with pytest.raises(TooLargeError):
        plan(schedule, QUIET)
    assert time.process_time() - began < CPU_S
