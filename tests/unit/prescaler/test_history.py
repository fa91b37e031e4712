"""What became of each window and peak: raised, Ready, early or late; and what that says about the lead time."""

from datetime import timedelta
from typing import Any

import pytest

from prescaler import metrics
from unit.prescaler.rig import DEPLOYMENT, INSIDE, LEAD, START, Rig
from unit.prescaler.test_ready_at_start import deployment, pods_ready

PEAK = {
    "name": "monthly",
    "fromDay": 15,
    "toDay": 26,
    "minReplicas": 8,
    "peaks": [{"from": "18:00", "to": "22:00", "minReplicas": 12}],
}
PEAK_AT = START + timedelta(hours=18)  # of the first evening, in Moscow


@pytest.fixture
async def prepared(rig: Rig) -> Rig:
    await rig.hpa()
    await deployment(rig, 2)
    await rig.window(windows=[PEAK], capacity={"nodes": "Ignore"})
    await rig.tick(LEAD - timedelta(hours=1))
    return rig


async def runs(rig: Rig) -> list[dict[str, Any]]:
    return list((await rig.status()).get("history", []))


async def test_a_peak_that_opens_short_of_pods_is_told_like_a_window(prepared: Rig) -> None:
    rig = prepared
    await rig.tick(LEAD)
    await pods_ready(rig, 8)
    await rig.tick(START)
    await rig.tick(PEAK_AT - timedelta(minutes=30))
    assert await rig.minimum() == 12
    await pods_ready(rig, 10)
    await rig.tick(PEAK_AT)
    peak, window = await runs(rig)
    assert (peak["kind"], peak["readyAtStart"], peak["minReplicas"]) == ("Peak", "10 of 12", 12)
    assert (window["kind"], window["readyAtStart"], window["secondsEarly"]) == ("Window", "8 of 8", 0)
    messages = [m for _, reason, m in await rig.events() if reason == "NotReadyAtStart"]
    assert messages == ["[REHEARSAL] the peak of monthly opens with 10 of 12 Ready"]
    await pods_ready(rig, 12)
    await rig.tick(PEAK_AT + timedelta(minutes=3))
    assert (await runs(rig))[0]["secondsEarly"] == -180
    assert metrics.objects.figures[rig.namespace, "volga"]["ready_early_seconds",] == -180


async def test_a_window_that_was_open_before_the_object_was_made_claims_nothing(rig: Rig) -> None:
    await rig.hpa()
    await deployment(rig, 0)
    await rig.window(capacity={"nodes": "Ignore"})
    await rig.tick(START + timedelta(seconds=5))
    await pods_ready(rig, 8)
    await rig.tick(START + timedelta(seconds=30))
    (run,) = await runs(rig)
    assert run["readyAtStart"] == "unknown"
    assert "secondsEarly" not in run, "it was not late: it was not there"
    assert (run["raisedAt"], run["readyAt"]) == ("2027-01-14T21:00:05Z", "2027-01-14T21:00:30Z")
    assert "NotReadyAtStart" not in await rig.warnings()


@pytest.mark.parametrize(
    ("took", "verdict"),
    [
        pytest.param(timedelta(minutes=14), ("True", "LeadTimeSufficient"), id="half the lead time is enough"),
        pytest.param(timedelta(minutes=16), ("False", "LeadTimeShort"), id="more than half is not"),
    ],
)
async def test_the_lead_time_is_judged_by_what_raises_took(
    prepared: Rig, took: timedelta, verdict: tuple[str, str]
) -> None:
    rig = prepared
    assert (await rig.condition("LeadTimeSufficient"))[:2] == ("Unknown", "NotMeasured")
    await rig.tick(LEAD)
    await pods_ready(rig, 8)
    await rig.tick(LEAD + took)
    assert (await rig.status())["readyTime"] == {"samples": 1, "p50Seconds": took.seconds, "p99Seconds": took.seconds}
    assert (await rig.condition("LeadTimeSufficient"))[:2] == verdict


async def test_a_raise_that_needed_no_new_pods_measures_nothing(prepared: Rig) -> None:
    await pods_ready(prepared, 9)
    await prepared.tick(LEAD)
    await prepared.tick(START)
    assert "readyTime" not in await prepared.status()
    assert (await runs(prepared))[0]["readyAtStart"] == "9 of 8"


async def test_a_minimum_that_somebody_else_had_raised_measures_nothing(rig: Rig) -> None:
    await rig.hpa(low=12)
    await deployment(rig, 2)
    await rig.window(capacity={"nodes": "Ignore"})
    await rig.tick(LEAD - timedelta(hours=1))
    await rig.tick(LEAD)
    await pods_ready(rig, 8)
    await rig.tick(LEAD + timedelta(minutes=10))
    assert "readyTime" not in await rig.status(), "when it was raised is not known"


async def test_a_restart_between_raise_and_start_loses_no_measurement(prepared: Rig) -> None:
    rig = prepared
    await rig.tick(LEAD)
    rig.restart()
    await pods_ready(rig, 8)
    await rig.tick(LEAD + timedelta(minutes=4))
    assert (await rig.status())["readyTime"]["p99Seconds"] == 240


async def test_what_was_warned_stands_in_the_history(prepared: Rig) -> None:
    rig = prepared
    await rig.tick(LEAD)
    refused = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota: compute",
    }
    await pods_ready(rig, 2, refused)
    await rig.tick(LEAD + timedelta(minutes=1))
    (run,) = await runs(rig)
    assert run["warnedAt"] == "2027-01-14T20:31:00Z"
    assert "exceeded quota" in run["warning"]


async def test_the_history_keeps_six_windows_beside_their_peaks(prepared: Rig) -> None:
    rig = prepared
    for month in range(9):
        year, number = 2027 + (month + 1) // 12, (month + 1) % 12 or 12
        at = INSIDE.replace(year=year, month=number)
        for day in range(15, 20):
            await rig.tick(at.replace(day=day, hour=15))
    kinds = [run["kind"] for run in await runs(rig)]
    assert (kinds.count("Window"), len(kinds)) == (6, 24)
    assert await rig.get(DEPLOYMENT, "energy")
