"""Will the pods fit: what counts as asked for, as taken and as room, one rule each."""

from typing import Any

import msgspec
import pytest

from prescaler.kube.around import Around, PodSeen, limits, quantity, requests, seen
from prescaler.kube.objects import Node, Pod, PodSpec, Quota, Selector
from prescaler.window.capacity import Claim, shortages


def container(cpu: str | None = None, limit: str | None = None, **more: Any) -> dict[str, Any]:
    resources = ({"requests": {"cpu": cpu}} if cpu else {}) | ({"limits": {"cpu": limit}} if limit else {})
    return {"resources": resources, **more}


def spec(*containers: dict[str, Any], init: list[dict[str, Any]] | None = None, **more: Any) -> PodSpec:
    return msgspec.convert({"containers": list(containers), "initContainers": init or [], **more}, PodSpec)


@pytest.mark.parametrize(
    ("pod", "cpu"),
    [
        pytest.param(spec(container("1"), container("2")), "3", id="containers together"),
        pytest.param(spec(container("1"), init=[container("2")]), "2", id="or the largest init container"),
        pytest.param(spec(container("1"), init=[container("2", restartPolicy="Always")]), "3", id="a sidecar stays"),
        pytest.param(
            spec(container("1"), init=[container("1", restartPolicy="Always"), container("3")]),
            "4",
            id="an init container beside a sidecar",
        ),
        pytest.param(spec(container(limit="2")), "2", id="a limit alone is the request"),
        pytest.param(spec(container("1"), overhead={"cpu": "250m"}), "1250m", id="the runtime's overhead"),
        pytest.param(spec(container("1"), resources={"requests": {"cpu": "4"}}), "4", id="the pod as a whole"),
    ],
)
def test_what_a_pod_asks_for(pod: PodSpec, cpu: str) -> None:
    assert dict(requests(pod))["cpu"] == quantity(cpu)


def test_limits_are_counted_of_limits_only() -> None:
    assert dict(limits(spec(container("1", "3"), container("1")))) == {"cpu": 3000}


def pod(name: str, node: str = "", phase: str = "Running", cpu: str = "1", **metadata: Any) -> Pod:
    meta = {"name": name, "namespace": "n", "labels": {"app": "x"}, **metadata}
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}] if phase == "Running" else []}
    body = {"metadata": meta, "spec": {"containers": [container(cpu)], "nodeName": node}, "status": status}
    return msgspec.convert(body, Pod, strict=False)


def node(name: str, cpu: str = "4") -> Node:
    ready = [{"type": "Ready", "status": "True"}]
    return msgspec.convert(
        {"metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu, "pods": "110"}, "conditions": ready}}, Node
    )


ROOMY = (node("roomy", "100"),)


def around(*pods: Pod, nodes: tuple[Node, ...] = (), quotas: tuple[Quota, ...] = ()) -> Around:
    live = list(seen(pods))
    index: dict[tuple[str, tuple[str, str]], list[PodSeen]] = {}
    for each in live:
        for item in each.labels:
            index.setdefault((each.namespace, item), []).append(each)
    return Around(live, nodes, quotas, everywhere=True, by_label=index)


def claim(uid: str = "u", missing: int = 2, unplaced: int | None = None, template: PodSpec | None = None) -> Claim:
    asked = template or spec(container("1", "2"))
    return Claim(uid, "n", missing, missing if unplaced is None else unplaced, asked, check_nodes=True)


@pytest.mark.parametrize(
    "gone",
    [
        pytest.param({"phase": "Failed"}, id="evicted"),
        pytest.param({"phase": "Succeeded"}, id="finished"),
        pytest.param({"deletionTimestamp": "2027-01-01T00:00:00Z"}, id="on its way out"),
    ],
)
def test_a_pod_that_no_longer_lives_counts_nowhere(gone: dict[str, str]) -> None:
    assert list(seen([pod("a", "node", **gone)])) == []


def test_pods_that_wait_already_get_their_room_first() -> None:
    found = shortages([claim(missing=2)], around(pod("a", phase="Pending", cpu="3"), nodes=(node("a"),)), frozenset())
    assert found["u"].reason == "NodeCapacity"
    assert "room for 1 more pods" in found["u"].message


def test_two_windows_that_open_together_are_not_promised_the_same_room() -> None:
    room = around(nodes=(node("a"),))
    found = shortages([claim("older", 3), claim("younger", 3)], room, frozenset())
    assert [*found] == ["younger"]
    assert "room for 1 more pods" in found["younger"].message


def quota(hard: dict[str, str], **more: Any) -> Quota:
    return msgspec.convert({"metadata": {"name": "q", "namespace": "n"}, "spec": more, "status": {"hard": hard}}, Quota)


def scoped(name: str, operator: str, *values: str) -> dict[str, Any]:
    return {"scopeSelector": {"matchExpressions": [{"scopeName": name, "operator": operator, "values": values}]}}


@pytest.mark.parametrize(
    ("found", "short"),
    [
        pytest.param(quota({"requests.cpu": "1"}), True, id="requests"),
        pytest.param(quota({"limits.cpu": "3"}), True, id="limits"),
        pytest.param(quota({"limits.cpu": "4"}), False, id="limits that suffice"),
        pytest.param(quota({"pods": "1"}), True, id="pods"),
        pytest.param(quota({"pods": "1"}, scopes=["BestEffort"]), False, id="for pods without requests"),
        pytest.param(quota({"pods": "1"}, scopes=["NotBestEffort"]), True, id="for pods with requests"),
        pytest.param(quota({"pods": "1"}, scopes=["Terminating"]), False, id="for pods with a deadline"),
        pytest.param(quota({"pods": "1"}, **scoped("PriorityClass", "In", "high")), False, id="for another priority"),
        pytest.param(quota({"pods": "1"}, **scoped("PriorityClass", "NotIn", "high")), True, id="for all but one"),
        pytest.param(quota({"pods": "1"}, **scoped("PriorityClass", "Exists")), False, id="for pods with a priority"),
    ],
)
def test_a_quota_counts_for_the_pods_in_its_scope(found: Quota, short: bool) -> None:  # noqa: FBT001 - a parameter
    assert ("u" in shortages([claim()], around(nodes=ROOMY, quotas=(found,)), frozenset())) == short


def test_two_windows_share_one_quota() -> None:
    found = shortages(
        [claim("older"), claim("younger")], around(nodes=ROOMY, quotas=(quota({"pods": "3"}),)), frozenset()
    )
    assert [*found] == ["younger"]


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        pytest.param({"matchLabels": {"app": "x"}}, True, id="a label"),
        pytest.param({"matchLabels": {"app": "y"}}, False, id="another"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "y"]}]}, True, id="one of"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}, False, id="none of"),
        pytest.param({"matchExpressions": [{"key": "canary", "operator": "DoesNotExist"}]}, True, id="not there"),
        pytest.param({}, False, id="nothing said matches nothing"),
    ],
)
def test_the_pods_of_a_workload_are_those_its_selector_names(selector: dict[str, Any], matches: bool) -> None:  # noqa: FBT001 - a parameter
    found = around(pod("a")).matching("n", msgspec.convert(selector, Selector))
    assert bool(found) == matches
    assert around(pod("a")).matching("other", msgspec.convert(selector, Selector)) == []
