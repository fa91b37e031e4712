"""Twenty-four months in one run: at every transition the HPA, its managedFields and the status are as the oracle says.

The oracle reads the wall clock minute by minute and shares nothing with the planner (tests/unit/prescaler/oracle.py).
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prescaler.plan.planner import OPEN, transitions
from prescaler.window.spec import parse
from unit.prescaler.oracle import Oracle
from unit.prescaler.rig import BW, HPA, SPEC, Rig

pytestmark = pytest.mark.cluster

SINCE, UNTIL = datetime(2027, 3, 1, tzinfo=UTC), datetime(2029, 3, 1, tzinfo=UTC)  # with 29 February 2028 inside
DAYS = 9  # of an oracle's stretch: the days around a few transitions
SCHEDULES: dict[str, dict[str, Any]] = {
    "volga": {
        "timeZones": ["Europe/Moscow", "Europe/Samara", "Asia/Yekaterinburg"],
        "rampUp": {"duration": "20m", "steps": 4},
        "rampDown": {"duration": "1h", "steps": 2},
        "exceptions": [
            {"date": "2028-01-26", "action": "Extend", "until": "2028-01-28"},
            {"date": "2027-06-12", "action": "Skip"},
            {"date": "2027-12-20", "action": "Override", "minReplicas": 4},
        ],
    },
    "month-end": {
        "windows": [{"name": "end", "fromDay": 30, "toDay": 31, "minReplicas": 6}],
        "rampUp": {"duration": "30m", "steps": 3},
    },
    "over-the-end": {
        "timeZones": ["Asia/Yekaterinburg"],
        "windows": [{"name": "over", "fromDay": 31, "toDay": 5, "minReplicas": 5, "startTime": "09:30"}],
    },
    "clock-change": {
        "timeZones": ["Europe/Berlin"],
        "windows": [
            {
                "name": "dst",
                "fromDay": 28,
                "toDay": 31,
                "startTime": "02:30",
                "endTime": "02:30",
                "minReplicas": 4,
                "peaks": [{"from": "02:00", "to": "03:00", "minReplicas": 7}],
            }
        ],
        "leadTime": "45m",
    },
}


def moments() -> dict[datetime, list[str]]:
    found: dict[datetime, list[str]] = {}
    for name, changes in SCHEDULES.items():
        for transition in transitions(parse(SPEC | changes).schedule(), SINCE, UNTIL):
            found.setdefault(transition.at, []).append(name)
    return found


@pytest.mark.timeout(480)
async def test_twenty_four_months(rig: Rig) -> None:
    for name, changes in SCHEDULES.items():
        await rig.hpa(name)
        await rig.window(name, targetRef={"name": name}, **changes)
    oracles: dict[str, Oracle] = {}
    held: set[str] = set()
    checked = 0
    for at, names in sorted(moments().items()):
        await rig.tick(at)
        for name in names:
            oracle = oracles.get(name)
            if oracle is None or not oracle.start + timedelta(days=2) <= at < oracle.start + timedelta(days=DAYS - 3):
                schedule = parse(SPEC | SCHEDULES[name]).schedule()
                oracle = oracles[name] = Oracle(schedule, at.replace(hour=0, minute=0) - timedelta(days=3), DAYS)
            minute = int((at - oracle.start) / timedelta(minutes=1))
            expected = oracle.minimum(minute)
            hpa, window = await rig.get(HPA, name), await rig.get(BW, name)
            held |= {name} if expected > 2 else set()
            owners = [
                m["manager"]
                for m in hpa["metadata"]["managedFields"]
                if "f:minReplicas" in m["fieldsV1"].get("f:spec", {})
            ]
            status = window["status"]
            assert hpa["spec"]["minReplicas"] == expected, (name, at)
            assert owners == (["prescaler"] if name in held else ["helm"]), (name, at)
            assert (status["minReplicas"], status["appliedMinReplicas"]) == (expected, expected), (name, at)
            assert (status["phase"] in OPEN) == oracle.is_open(minute), (name, at)
            assert bool(window["metadata"].get("finalizers")) == (expected > 2), (name, at)
            checked += 1
    assert checked > 500
    assert len((await rig.status())["history"]) == 6, "the last six windows are remembered"
