"""The headline promise: all pods Ready when the window opens, or a warning while there is still time.

Pods, nodes and the Deployment's status are written by the test in place of scheduler and kubelet.
"""

from datetime import timedelta
from typing import Any

import pytest

from unit.prescaler.rig import BW, HPA, INSIDE, LEAD, QUIET, SPEC, START, Rig

DEPLOYMENTS = "apis/apps/v1 deployments"
PODS = "api/v1 pods"
ROLLOUTS = "apis/argoproj.io/v1alpha1 rollouts"
REQUESTS = {"cpu": "500m", "memory": "256Mi"}
HALF = START - timedelta(minutes=15)


async def deployment(rig: Rig, ready: int) -> None:
    container = {"name": "app", "image": "energy:1", "resources": {"requests": REQUESTS}}
    template = {"metadata": {"labels": {"app": "energy"}}, "spec": {"containers": [container]}}
    spec = {"replicas": ready, "selector": {"matchLabels": {"app": "energy"}}, "template": template}
    await rig.make(DEPLOYMENTS, {"apiVersion": "apps/v1", "metadata": {"name": "energy"}, "spec": spec})
    await pods_ready(rig, ready)


async def pods_ready(rig: Rig, ready: int, *conditions: dict[str, str]) -> None:
    status = {"replicas": ready, "readyReplicas": ready, "availableReplicas": ready, "conditions": list(conditions)}
    await rig.edit(DEPLOYMENTS, "energy/status", {"status": status})


async def pod(rig: Rig, number: int, status: dict[str, Any]) -> None:
    container = {"name": "app", "image": "energy:1", "resources": {"requests": REQUESTS}}
    metadata = {"name": f"energy-{number}", "labels": {"app": "energy"}}
    spec = {"containers": [container], "serviceAccountName": "default"}
    await rig.make(PODS, {"metadata": metadata, "spec": spec})
    await rig.edit(PODS, f"energy-{number}/status", {"status": status})


@pytest.fixture
async def prepared(rig: Rig) -> Rig:
    await rig.make("api/v1 serviceaccounts", {"metadata": {"name": "default"}})
    await rig.hpa()
    await deployment(rig, 2)
    return rig


async def test_pods_get_ready_and_the_history_says_so(prepared: Rig) -> None:
    rig = prepared
    await rig.window(capacity={"nodes": "Ignore"})
    await rig.tick(LEAD)
    assert (await rig.condition("PreScaled")) == ("False", "PodsNotReady", "2 of 8 Ready")
    assert (await rig.status())["ready"] == "2/8"
    await pods_ready(rig, 8)
    await rig.tick(HALF)
    assert (await rig.condition("PreScaled")) == ("True", "PodsReady", "8 of 8 Ready")
    assert (await rig.condition("CapacitySufficient"))[0] == "True"
    await rig.tick(START)
    await pods_ready(rig, 11)
    await rig.tick(INSIDE)
    (entry,) = (await rig.status())["history"]
    assert entry == {
        "window": "monthly",
        "kind": "Window",
        "plannedStart": "2027-01-14T21:00:00Z",
        "plannedEnd": "2027-01-26T21:00:00Z",
        "minReplicas": 8,
        "raisedAt": "2027-01-14T20:30:00Z",
        "readyAtRaise": 2,
        "readyAt": "2027-01-14T20:45:00Z",
        "secondsEarly": 900,
        "actualStart": "2027-01-14T21:00:00Z",
        "readyAtStart": "8 of 8",
        "peakReplicas": 11,
    }
    assert ("Normal", "PodsReady") in [e[:2] for e in await rig.events()]


async def test_of_a_start_that_nobody_saw_nothing_is_claimed(prepared: Rig) -> None:
    await prepared.window(capacity={"nodes": "Ignore"})
    await prepared.tick(START + timedelta(minutes=40))
    (entry,) = (await prepared.status())["history"]
    assert (entry["plannedStart"], entry["actualStart"]) == ("2027-01-14T21:00:00Z", "2027-01-14T21:40:00Z")
    assert entry["readyAtStart"] == "unknown"
    assert "NotReadyAtStart" not in await prepared.warnings()


async def test_times_are_written_in_whole_seconds(prepared: Rig) -> None:
    await prepared.window(capacity={"nodes": "Ignore"})
    await prepared.tick(LEAD)
    await prepared.tick(START + timedelta(microseconds=123_456))
    status = await prepared.status()
    assert status["history"][0]["actualStart"] == "2027-01-14T21:00:00Z"
    assert not [c for c in status["conditions"] if "." in c["lastTransitionTime"]]


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no cpu"}
REFUSED = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreate",
    "message": 'pods "energy-x" is forbidden: exceeded quota: compute',
}


def pull(reason: str) -> dict[str, Any]:
    waiting = {"name": "app", "image": "energy:1", "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Pending", "containerStatuses": [{**waiting, "state": {"waiting": {"reason": reason}}}]}


@pytest.mark.parametrize(
    ("pod_status", "condition", "reason", "words"),
    [
        pytest.param({"conditions": [UNSCHEDULABLE]}, None, "Unschedulable", "0/3 nodes: no cpu", id="pending"),
        pytest.param(pull("ImagePullBackOff"), None, "ImagePull", "can't be pulled", id="image"),
        pytest.param(pull("CrashLoopBackOff"), None, "PodsFailing", "doesn't start", id="crash loop"),
        pytest.param(None, REFUSED, "Quota", "exceeded quota: compute", id="quota"),
    ],
)
async def test_pods_that_wont_make_it_are_reported_with_their_cause_at_half_the_lead_time(
    prepared: Rig, pod_status: dict[str, Any] | None, condition: dict[str, str] | None, reason: str, words: str
) -> None:
    rig = prepared
    await rig.window(capacity={"nodes": "Ignore"})
    await rig.tick(LEAD)
    if pod_status is not None:
        await pod(rig, 1, pod_status)
    if condition is not None:
        await pods_ready(rig, 2, condition)
    await rig.tick(LEAD + timedelta(minutes=1))
    status, why, message = await rig.condition("CapacitySufficient")
    assert (status, why) == ("False", reason)
    assert words in message
    assert "15 Jan 00:00 (Europe/Moscow)" in message
    assert [e[1] for e in await rig.events() if e[0] == "Warning" and words in e[2]] == ["WontBeReady"]


async def test_pods_that_are_merely_slow_are_reported_at_half_the_lead_time(prepared: Rig) -> None:
    await prepared.window(capacity={"nodes": "Ignore"})
    await prepared.tick(HALF - timedelta(seconds=1))
    assert (await prepared.condition("CapacitySufficient"))[:2] == ("True", "Sufficient")
    await prepared.tick(HALF)
    assert (await prepared.condition("CapacitySufficient"))[:2] == ("False", "StillStarting")


async def node(rig: Rig, cpu: str) -> str:
    name = f"node-{rig.namespace}"
    url = "/api/v1/nodes"
    await rig.kube.transport("POST", url, None, {"metadata": {"name": name, "labels": {"for": rig.namespace}}})
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    room = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    status = {"status": {"allocatable": room, "capacity": room, "conditions": [ready]}}
    await rig.kube.transport("PATCH", f"{url}/{name}/status", None, status)
    taints = {"spec": {"taints": None}}  # the API server taints a node that it has just met
    await rig.kube.transport("PATCH", f"{url}/{name}", None, taints)
    return f"{url}/{name}"


@pytest.mark.parametrize(("cpu", "fits"), [("2", False), ("8", True)], ids=["too small", "large enough"])
async def test_nodes_without_room_are_reported_a_whole_lead_time_before_the_first_step(
    prepared: Rig,
    cpu: str,
    fits: bool,  # noqa: FBT001 - a parameter
) -> None:
    rig = prepared
    url = await node(rig, cpu)
    try:
        await rig.window()
        await rig.tick(LEAD - timedelta(minutes=31))
        assert (await rig.condition("CapacitySufficient"))[:2] == ("Unknown", "NotChecked"), "not looked at yet"
        rig.restart()
        await rig.tick(LEAD - timedelta(minutes=30))
        status, reason, message = await rig.condition("CapacitySufficient")
        assert (status, reason) == (("True", "Sufficient") if fits else ("False", "NodeCapacity"))
        if not fits:
            assert "room for 4 more pods (cpu 0.5, memory 256Mi each); 8 more are needed" in message
    finally:
        await rig.kube.transport("DELETE", url, None, None)


async def test_the_pods_of_anything_with_a_scale_are_counted_by_its_selector(rig: Rig) -> None:
    """An Argo Rollout, for example: it has no Deployment that counts its Ready pods."""
    await rig.make("api/v1 serviceaccounts", {"metadata": {"name": "default"}})
    kind = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    await rig.make(ROLLOUTS, {**kind, "metadata": {"name": "energy"}, "spec": {"replicas": 2}})
    await rig.edit(ROLLOUTS, "energy/status", {"status": {"replicas": 2, "selector": "app=energy"}})
    target = {"minReplicas": 2, "maxReplicas": 20, "scaleTargetRef": {**kind, "name": "energy"}}
    await rig.make(HPA, {"metadata": {"name": "energy"}, "spec": target})
    await rig.window(capacity={"nodes": "Ignore"})
    await pod(rig, 1, {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"})
    await pod(rig, 2, {"conditions": [UNSCHEDULABLE]})
    await rig.tick(LEAD)
    await rig.tick(LEAD + timedelta(minutes=2))
    assert (await rig.condition("PreScaled")) == ("False", "PodsNotReady", "1 of 8 Ready")
    assert (await rig.condition("CapacitySufficient"))[:2] == ("False", "Unschedulable")


async def test_a_quota_that_is_too_small_is_reported_ahead(prepared: Rig) -> None:
    rig = prepared
    await rig.make("api/v1 resourcequotas", {"metadata": {"name": "compute"}, "spec": {"hard": {"requests.cpu": "2"}}})
    used = {"status": {"hard": {"requests.cpu": "2"}, "used": {"requests.cpu": "1"}}}
    await rig.edit("api/v1 resourcequotas", "compute/status", used)
    await rig.window(capacity={"nodes": "Ignore"})
    await rig.tick(LEAD - timedelta(minutes=30))
    status, reason, message = await rig.condition("CapacitySufficient")
    assert (status, reason) == ("False", "Quota")
    assert "quota compute leaves room for 2 more pods" in message


async def test_a_maximum_that_is_too_low_is_reported_at_once_and_pages_nobody(rig: Rig) -> None:
    await rig.hpa(high=5)
    await rig.window()
    await rig.tick(QUIET)
    assert (await rig.condition("WithinMaximum"))[:2] == ("False", "MaxReplicasTooLow")
    assert (await rig.condition("CapacitySufficient"))[0] == "Unknown"
    assert sorted(await rig.warnings()) == ["MaxReplicasTooLow", "RehearsalClock"]


async def test_the_replay_of_last_month_raises_the_floor(rig: Rig, prometheus: str) -> None:
    await rig.hpa(high=40)
    replay = {"url": prometheus, "query": "sum(rate(x[5m]))", "requestsPerSecondPerPod": 100, "headroom": "1.2"}
    await rig.window(replay=replay)
    await rig.tick(LEAD)
    assert await rig.minimum() == 12, "ceil(1000 × 1.2 / 100)"
    status = await rig.status()
    (record,) = status["replay"]
    assert record.pop("source")
    assert record == {
        "window": "monthly",
        "start": "2027-01-14T21:00:00Z",
        "from": "2026-12-14T21:00:00Z",
        "to": "2026-12-26T21:00:00Z",
        "peakRequestsPerSecond": "1000.0",
    }
    await rig.edit(BW, "volga", {"spec": {"replay": {"maxMinReplicas": 10}}})
    await rig.tick()
    assert await rig.minimum() == 10, "the cap acts at once"


async def test_a_replay_without_prometheus_keeps_the_declared_value(rig: Rig) -> None:
    await rig.hpa()
    await rig.window(replay={"url": "http://127.0.0.1:9", "query": "x", "requestsPerSecondPerPod": 1})
    await rig.tick(LEAD)
    assert await rig.minimum() == SPEC["windows"][0]["minReplicas"]
    status, reason, message = await rig.condition("ReplayAvailable")
    assert (status, reason) == ("False", "NoData")
    assert "doesn't answer" in message
