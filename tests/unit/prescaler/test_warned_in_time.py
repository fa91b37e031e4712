"""The other half of the promise: whatever keeps pods from being Ready, somebody is warned while there is still time.

Each case is one thing that is wrong. What can't be seen is a case like any other: nobody may take it for "nothing is wrong".
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from prescaler import metrics
from unit.prescaler.rig import BW, END, HPA, LEAD, QUIET, SPEC, START, Rig
from unit.prescaler.test_ready_at_start import DEPLOYMENTS, ROLLOUTS, deployment, pods_ready

HALF = START - timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
WINDOW = SPEC["windows"][0]
Wrong = Callable[[Rig], Awaitable[None]]


def refused(part: str, status: int) -> Wrong:
    async def wrong(rig: Rig) -> None:
        rig.kube.always[part] = status

    return wrong


async def deployment_deleted(rig: Rig) -> None:
    await rig.delete(DEPLOYMENTS, "energy")


async def target_deleted(rig: Rig) -> None:
    await rig.delete(HPA, "energy")


async def of_keda(rig: Rig) -> None:
    await rig.edit(HPA, "energy", {"metadata": {"labels": {"app.kubernetes.io/managed-by": "keda-operator"}}})


async def at_zero(rig: Rig) -> None:
    off = {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled", "message": "0 replicas"}
    await rig.edit(HPA, "energy/status", {"status": {"currentReplicas": 0, "desiredReplicas": 0, "conditions": [off]}})


async def maximum_too_low(rig: Rig) -> None:
    await rig.edit(HPA, "energy", {"spec": {"minReplicas": 2, "maxReplicas": 5}})
    await rig.edit(BW, "volga", {"spec": {"maxReplicasPolicy": "Fail"}})


async def baseline_is_the_demand(rig: Rig) -> None:
    await rig.edit(HPA, "energy", {"spec": {"minReplicas": 8}})
    await rig.edit(BW, "volga", {"spec": {"baseline": {"minReplicas": 8}}})


def scales(kind: str, api_version: str = "argoproj.io/v1alpha1") -> Wrong:
    async def wrong(rig: Rig) -> None:
        ref = {"apiVersion": api_version, "kind": kind, "name": "energy"}
        await rig.edit(HPA, "energy", {"spec": {"scaleTargetRef": ref}})

    return wrong


def rollout(selector: str | None = "app=energy", part: str = "", status: int = 0) -> Wrong:
    async def wrong(rig: Rig) -> None:
        kind = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
        await rig.make(ROLLOUTS, {**kind, "metadata": {"name": "energy"}, "spec": {"replicas": 2}})
        said = {"replicas": 2} | ({"selector": selector} if selector is not None else {})
        await rig.edit(ROLLOUTS, "energy/status", {"status": said})
        await scales("Rollout")(rig)
        if part:
            rig.kube.always[part] = status

    return wrong


WRONG = {
    "the Deployment is deleted": (deployment_deleted, "WorkloadNotFound"),
    "Deployments may not be listed": (refused("GET /apis/apps/v1", 403), "PodsUnseen"),
    "listing Deployments fails": (refused("GET /apis/apps/v1", 500), "PodsUnseen"),
    "listing Deployments times out": (refused("GET /apis/apps/v1", 0), "PodsUnseen"),
    "the HPA is deleted": (target_deleted, "TargetNotFound"),
    "HPAs may not be listed": (refused("GET /apis/autoscaling", 403), "TargetUnreadable"),
    "listing HPAs fails": (refused("GET /apis/autoscaling", 500), "TargetUnreadable"),
    "the HPA is KEDA's": (of_keda, "OwnedByKeda"),
    "the HPA is off": (at_zero, "TargetAtZero"),
    "the HPA can't be changed": (refused("PATCH /apis/autoscaling", 422), "StillStarting"),
    "the maximum is too low": (maximum_too_low, "MaxReplicasTooLow"),
    "pods are slow": (refused("nothing", 0), "StillStarting"),
    "nothing is to be raised": (baseline_is_the_demand, "StillStarting"),
    "a Rollout's scale may not be read": (rollout(part="rollouts/energy/scale", status=403), "PodsUnseen"),
    "a Rollout without a scale": (scales("Rollout"), "PodsUnseen"),
    "a kind that is not served": (scales("Nothing"), "PodsUnseen"),
    "a StatefulSet of another group": (scales("StatefulSet", "apps.kruise.io/v1beta1"), "PodsUnseen"),
    "a Rollout whose scale names no selector": (rollout(selector=None), "PodsUnseen"),
    "a Rollout whose selector is a set": (rollout(selector="app in (energy)"), "PodsUnseen"),
    "a Rollout whose pods may not be listed": (rollout(part="/pods", status=403), "PodsUnseen"),
    "a Rollout whose pods can't be listed": (rollout(part="/pods", status=500), "PodsUnseen"),
}


@pytest.fixture
async def prepared(rig: Rig) -> Rig:
    await rig.hpa()
    await deployment(rig, 2)
    await rig.window(capacity={"nodes": "Ignore"})
    await rig.tick(QUIET)
    return rig


async def warned(rig: Rig) -> tuple[str, str, float | None]:
    status, reason, _ = await rig.condition("CapacitySufficient")
    return status, reason, metrics.objects.figures[rig.namespace, "volga"].get(("condition", "CapacitySufficient"))


@pytest.mark.parametrize("since", [QUIET + MINUTE, LEAD + MINUTE], ids=["long before", "in the lead time"])
@pytest.mark.parametrize("name", WRONG)
async def test_whatever_is_wrong_is_warned_of_before_the_start_and_until_it_is_put_right(
    prepared: Rig, name: str, since: datetime
) -> None:
    rig, (wrong, reason) = prepared, WRONG[name]
    for at in (LEAD - 29 * MINUTE, LEAD):
        if at < since:
            await rig.tick(at)
    await wrong(rig)
    await rig.tick(since)
    for at in (HALF, START - MINUTE, START, START + MINUTE, START + 10 * MINUTE):
        await rig.tick(at)
        assert await warned(rig) == ("False", reason, 0), at
    assert [r for _, r, m in await rig.events() if r == "WontBeReady" and "monthly needs 8 pods" in m]
    (run,) = (await rig.status())["history"]
    assert run["warnedAt"] <= "2027-01-14T20:45:00Z"


@pytest.mark.parametrize("name", ["Deployments may not be listed", "HPAs may not be listed"])
async def test_what_cannot_be_seen_is_told_again_when_it_is_seen(prepared: Rig, name: str) -> None:
    rig = prepared
    await rig.tick(LEAD)
    await pods_ready(rig, 8)
    await WRONG[name][0](rig)
    await rig.tick(LEAD + MINUTE)
    assert (await warned(rig))[0] == "Unknown", "there is still time to see"
    await rig.tick(HALF)
    assert (await warned(rig))[0] == "False"
    rig.kube.always.clear()
    await rig.tick(HALF + MINUTE)
    assert await warned(rig) == ("True", "Sufficient", 1)
    assert "CapacitySufficientAgain" in [reason for _, reason, _ in await rig.events()]


async def test_a_window_that_opens_while_another_one_ramps_down_is_warned_of_like_any(rig: Rig) -> None:
    second = {**WINDOW, "name": "second", "fromDay": 27, "toDay": 28, "startTime": "03:00"}
    await rig.hpa(high=40)
    await deployment(rig, 20)
    windows = [{**WINDOW, "minReplicas": 20}, second]
    await rig.window(rampDown={"duration": "6h", "steps": 2}, windows=windows, capacity={"nodes": "Ignore"})
    await rig.tick(END - MINUTE)
    await pods_ready(rig, 0)
    opens = END + timedelta(hours=3)
    await rig.tick(opens - timedelta(minutes=40))
    assert (await rig.status())["phase"] == "RampDown"
    for before in (15, 5, 1, 0, -5):
        await rig.tick(opens - before * MINUTE)
        assert await warned(rig) == ("False", "StillStarting", 0), before


async def test_pods_lost_after_a_start_that_was_reached_are_no_warning_of_the_start(prepared: Rig) -> None:
    """A rolling update in the open window wakes nobody within its first minutes; BillingWindowShortOfPods watches it."""
    rig = prepared
    await rig.tick(LEAD)
    await pods_ready(rig, 8)
    for at in (HALF, START, START + MINUTE):
        await rig.tick(at)
    await pods_ready(rig, 6)
    await rig.tick(START + timedelta(hours=3))
    assert (await warned(rig))[0] != "False"
    assert (await rig.condition("PreScaled"))[:2] == ("False", "PodsNotReady")


async def test_a_higher_day_that_was_missed_stays_missed_though_its_window_was_reached(rig: Rig) -> None:
    await rig.hpa()
    await deployment(rig, 2)
    higher = [{"date": "2027-01-20", "action": "Override", "minReplicas": 12}]
    await rig.window(exceptions=higher, capacity={"nodes": "Ignore"})
    await rig.tick(LEAD)
    await pods_ready(rig, 8)
    await rig.tick(START)
    day = START + timedelta(days=5)
    await rig.tick(day - timedelta(hours=2))
    assert (await warned(rig))[0] == "True"
    for at in (day - 14 * MINUTE, day, day + 5 * MINUTE):
        await rig.tick(at)
        assert await warned(rig) == ("False", "StillStarting", 0), at


@pytest.mark.parametrize("lead", ["0s", "1m", "4m59s"])
async def test_a_lead_time_that_leaves_no_time_to_warn_is_said_long_before(rig: Rig, lead: str) -> None:
    await rig.hpa()
    await rig.window(leadTime=lead)
    await rig.tick(QUIET)
    assert (await rig.condition("LeadTimeSufficient"))[:2] == ("False", "NoTimeToWarn")
    assert metrics.objects.figures[rig.namespace, "volga"]["condition", "LeadTimeSufficient"] == 0
    await rig.edit(BW, "volga", {"spec": {"leadTime": "5m"}})
    await rig.tick()
    assert (await rig.condition("LeadTimeSufficient"))[:2] == ("Unknown", "NotMeasured")


async def test_a_plan_beyond_the_maximum_is_measured_long_before(rig: Rig) -> None:
    await rig.hpa(high=5)
    await rig.window()
    await rig.tick(QUIET)
    assert metrics.objects.figures[rig.namespace, "volga"]["condition", "WithinMaximum"] == 0


async def test_a_window_of_few_pods_takes_no_room_from_others_while_it_ramps_down(rig: Rig) -> None:
    """What a ramp still asks for is no demand: those pods are on their way out."""
    await rig.hpa(high=40)
    await deployment(rig, 0)
    await rig.make("api/v1 resourcequotas", {"metadata": {"name": "compute"}, "spec": {"hard": {"requests.cpu": "4"}}})
    full: dict[str, Any] = {"status": {"hard": {"requests.cpu": "4"}, "used": {"requests.cpu": "0"}}}
    await rig.edit("api/v1 resourcequotas", "compute/status", full)
    await rig.window("a-old", rampDown={"duration": "6h", "steps": 2}, capacity={"nodes": "Ignore"})
    await rig.hpa("other")
    await rig.edit(HPA, "other", {"spec": {"scaleTargetRef": {"name": "energy"}}})
    later = {**WINDOW, "fromDay": 27, "toDay": 28, "startTime": "03:00"}
    await rig.window("volga", targetRef={"name": "other"}, windows=[later], capacity={"nodes": "Ignore"})
    await rig.tick(END + timedelta(hours=2))
    assert (await rig.condition("CapacitySufficient"))[:2] == ("True", "Sufficient"), "8 pods of half a CPU fit"
