"""Will the pods fit, and if they don't start: why.

Two questions with one answer, a Fact that names its cause in words. Ahead of a window what is missing is compared with
the namespace's quotas and the nodes' free room, after everybody else's share: the pods that wait already, and the other
windows that open at the same time. While pods are starting, what Kubernetes says about them is read out. Pure functions.

The fit is an estimate that errs on the quiet side: affinity, spreading, volumes and limit ranges are not simulated.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from prescaler.kube.around import Amounts, Around, PodSeen, limits, quantity, requests
from prescaler.kube.objects import Condition, Node, PodSpec, Quota
from prescaler.window.verdict import Fact

POD: Amounts = (("pods", 1000),)


class Claim(NamedTuple):
    """What one acting BillingWindow still needs."""

    uid: str
    namespace: str
    missing: int  # pods that don't exist yet
    unplaced: int  # pods without a node: missing, or waiting for one
    template: PodSpec
    check_nodes: bool


def shortages(claims: Sequence[Claim], around: Around, mine: frozenset[int]) -> dict[str, Fact]:
    """`claims` oldest first: nobody's room is promised twice. `mine`: the ids of the waiting pods that claims count."""
    found: dict[str, Fact] = {}
    spent: dict[tuple[str, str], dict[str, int]] = {}  # of each quota, by the claims before
    rooms = _rooms(around, mine)
    for claim in claims:
        shortage = _quota(claim, around.quotas, spent)
        if shortage is None and rooms is not None and claim.check_nodes and claim.unplaced > 0:
            shortage = _place(claim.template, claim.unplaced, around.nodes or (), rooms)
        if shortage is not None:
            found[claim.uid] = shortage
    return found


def stuck(name: str, conditions: Iterable[Condition], pods: Iterable[PodSeen]) -> Fact | None:
    """What Kubernetes says about pods of a workload that don't get Ready."""
    for condition in conditions:
        if condition.type == "ReplicaFailure" and condition.status == "True":
            reason = "Quota" if "exceeded quota" in condition.message else "PodsRefused"
            return Fact(reason, f"pods of {name} are refused: {condition.message}")
    counted: dict[tuple[str, str], int] = {}
    for pod in pods:
        if pod.cause is not None:
            counted[pod.cause] = counted.get(pod.cause, 0) + 1
    if not counted:
        return None
    (reason, message), count = max(counted.items(), key=lambda item: item[1])
    return Fact(reason, f"{count} pods of {name}: {message}")


def _quota(claim: Claim, quotas: Iterable[Quota], spent: dict[tuple[str, str], dict[str, int]]) -> Fact | None:
    if claim.missing <= 0:
        return None
    asked, capped = dict(requests(claim.template)), dict(limits(claim.template))
    each = {"pods": 1000, "count/pods": 1000, **asked}
    each |= {f"requests.{name}": amount for name, amount in asked.items()}
    each |= {f"limits.{name}": amount for name, amount in capped.items()}
    shortage: Fact | None = None
    for quota in quotas:
        if quota.metadata.namespace != claim.namespace or not _in_scope(quota, claim.template):
            continue
        before = spent.setdefault((claim.namespace, quota.metadata.name), {})
        for name, hard in quota.status.hard.items():
            if not each.get(name):
                continue
            used = quota.status.used.get(name, "0")
            free = quantity(hard) - quantity(used) - before.get(name, 0)
            before[name] = before.get(name, 0) + claim.missing * each[name]
            if claim.missing * each[name] > free and shortage is None:
                shortage = Fact(
                    "Quota",
                    f"quota {quota.metadata.name} leaves room for {max(0, free // each[name])} more pods"
                    f" ({name}: {used} of {hard} used); {claim.missing} more are needed",
                )
    return shortage


def _in_scope(quota: Quota, pod: PodSpec) -> bool:
    asked = bool(requests(pod) or limits(pod))
    simple = {
        "BestEffort": not asked,
        "NotBestEffort": asked,
        "Terminating": pod.active_deadline_seconds is not None,
        "NotTerminating": pod.active_deadline_seconds is None,
    }
    if not all(simple.get(scope, False) for scope in quota.spec.scopes):
        return False
    for rule in quota.spec.scope_selector.match_expressions:
        if rule.scope_name != "PriorityClass":
            holds = simple.get(rule.scope_name, False)
        elif rule.operator in {"In", "NotIn"}:
            holds = (pod.priority_class_name in rule.values) == (rule.operator == "In")
        else:
            holds = bool(pod.priority_class_name) == (rule.operator == "Exists")
        if not holds:
            return False
    return True


Rooms = dict[str, dict[str, int]]  # node -> resource -> what is free


def _rooms(around: Around, mine: frozenset[int]) -> Rooms | None:
    """None where the nodes and all pods can't be seen. Pods of nobody here that wait for a node get theirs first."""
    if around.nodes is None or around.pods is None or not around.everywhere:
        return None
    rooms = {
        node.metadata.name: {name: quantity(amount) for name, amount in node.status.allocatable.items()}
        for node in around.nodes
    }
    for pod in around.pods:
        if pod.node in rooms:
            _take(rooms[pod.node], pod.requests)
    for pod in around.pods:
        if not pod.node and id(pod) not in mine:
            _place(pod.template, 1, around.nodes, rooms)
    return rooms


def _take(room: dict[str, int], amounts: Amounts, count: int = 1) -> None:
    for name, amount in (*amounts, *POD):
        room[name] = room.get(name, 0) - count * amount


def _place(pod: PodSpec, count: int, nodes: Sequence[Node], rooms: Rooms) -> Fact | None:
    """Take the room of `count` pods, node by node; the shortage if it isn't there."""
    amounts = requests(pod)
    usable = [node.metadata.name for node in nodes if _accepts(node, pod)]
    left, fit = count, 0
    for name in usable:
        here = _fit(rooms[name], amounts)
        fit += here
        taken = min(left, here)
        if taken > 0:
            _take(rooms[name], amounts, taken)
            left -= taken
    if left <= 0:
        return None
    each = ", ".join(f"{name} {_show(name, amount)}" for name, amount in amounts)
    return Fact(
        "NodeCapacity",
        f"{len(usable)} usable nodes have room for {fit} more pods ({each or 'no requests'} each);"
        f" {count} more are needed",
    )


def _fit(room: Mapping[str, int], amounts: Amounts) -> int:
    return max(0, min(room.get(name, 0) // amount for name, amount in (*amounts, *POD) if amount))


def _accepts(node: Node, pod: PodSpec) -> bool:
    ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
    labelled = all(node.metadata.labels.get(k) == v for k, v in pod.node_selector.items())
    tolerated = all(
        any(
            t.effect in {"", taint.effect}
            and (
                (t.operator == "Exists" and t.key in {"", taint.key})
                or (t.operator == "Equal" and (t.key, t.value) == (taint.key, taint.value))
            )
            for t in pod.tolerations
        )
        for taint in node.spec.taints
        if taint.effect in {"NoSchedule", "NoExecute"}
    )
    return ready and labelled and tolerated and not node.spec.unschedulable


def _show(name: str, thousandths: int) -> str:
    if name == "memory":
        return f"{thousandths / 1000 / 2**20:.0f}Mi"
    return f"{thousandths / 1000:g}"
