"""Will the pods fit, and if they don't start: why.

Two questions with one answer, a Shortage that names its cause in words. Ahead of a window the target is compared with
what is there today: the database's connections, the namespace's quota, the nodes' free room. While pods are starting,
what Kubernetes says about them is read out. Pure functions over objects that were read before.

The fit is an estimate that errs on the quiet side: affinity and spreading rules are not simulated.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from prescaler.objects import Node, Pod, PodSpec, Quota, Workload
from prescaler.spec import Capacity

_FACTORS = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(10) ** 3}
_FACTORS |= {s: Decimal(10) ** (3 * i) for i, s in enumerate("MGTPE", start=2)}
_FACTORS |= {f"{s}i": Decimal(2) ** (10 * i) for i, s in enumerate("KMGTPE", start=1)}
_QUANTITY = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")
_PULL_PROBLEMS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


@dataclass(frozen=True, slots=True)
class Shortage:
    reason: str
    message: str


def quantity(text: str) -> Decimal:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _FACTORS:
        return Decimal(0)  # a unit younger than this code: better no warning than a wrong one
    return Decimal(match[1]) * _FACTORS[match[2]]


def connections(wanted: Capacity, replicas: int) -> Shortage | None:
    each, most = wanted.database_connections_per_pod, wanted.database_connections_max
    if each is None or most is None or replicas * each <= most:
        return None
    return Shortage(
        "DatabaseConnections",
        f"{replicas} pods with {each} connections each need {replicas * each}; the database allows {most}",
    )


def quota(missing: int, workload: Workload, quotas: Iterable[Quota]) -> Shortage | None:
    """`missing` pods on top of those that exist."""
    requests = _requests(workload.spec.template.spec)
    each = {"pods": Decimal(1), "count/pods": Decimal(1)}
    each |= requests | {f"requests.{name}": amount for name, amount in requests.items()}
    for found in quotas:
        for name, hard in found.status.hard.items():
            if not each.get(name):
                continue
            free = quantity(hard) - quantity(found.status.used.get(name, "0"))
            if missing * each[name] > free:
                return Shortage(
                    "Quota",
                    f"quota {found.metadata.name} leaves room for {max(0, int(free // each[name]))} more pods"
                    f" ({name}: {found.status.used.get(name, '0')} of {hard} used); {missing} more are needed",
                )
    return None


def nodes(missing: int, workload: Workload, found: Sequence[Node], pods: Iterable[Pod]) -> Shortage | None:
    wanted = workload.spec.template.spec
    requests = _requests(wanted) | {"pods": Decimal(1)}
    taken: dict[str, dict[str, Decimal]] = {}
    for pod in pods:
        if pod.spec.node_name and pod.status.phase not in {"Succeeded", "Failed"}:
            room = taken.setdefault(pod.spec.node_name, {})
            for name, amount in (_requests(pod.spec) | {"pods": Decimal(1)}).items():
                room[name] = room.get(name, Decimal(0)) + amount
    usable = [node for node in found if _accepts(node, wanted)]
    fit = 0
    for node in usable:
        used = taken.get(node.metadata.name, {})
        free = {n: quantity(node.status.allocatable.get(n, "0")) - used.get(n, Decimal(0)) for n in requests}
        fit += max(0, min(int(free[name] // amount) for name, amount in requests.items() if amount))
    if fit >= missing:
        return None
    each = ", ".join(f"{name} {_show(name, amount)}" for name, amount in requests.items() if name != "pods")
    return Shortage(
        "NodeCapacity",
        f"{len(usable)} usable nodes have room for {fit} more pods ({each or 'no requests'} each);"
        f" {missing} more are needed",
    )


def stuck(workload: Workload, pods: Iterable[Pod]) -> Shortage | None:
    """What Kubernetes says about pods that don't get Ready."""
    name = workload.metadata.name
    for condition in workload.status.conditions:
        if condition.type == "ReplicaFailure" and condition.status == "True":
            reason = "Quota" if "exceeded quota" in condition.message else "PodsRefused"
            return Shortage(reason, f"pods of {name} are refused: {condition.message}")
    counted: dict[tuple[str, str], int] = {}
    for pod in pods:
        cause = _cause(pod)
        if cause is not None:
            counted[cause] = counted.get(cause, 0) + 1
    if not counted:
        return None
    (reason, message), count = max(counted.items(), key=lambda item: item[1])
    return Shortage(reason, f"{count} pods of {name}: {message}")


def _cause(pod: Pod) -> tuple[str, str] | None:
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.reason == "Unschedulable":
            return "Unschedulable", f"can't be scheduled: {condition.message}"
    for container in pod.status.container_statuses:
        waiting = container.state.waiting
        if waiting is not None and waiting.reason in _PULL_PROBLEMS:
            return "ImagePull", f"the image can't be pulled: {waiting.reason} {waiting.message}".rstrip()
        if waiting is not None and waiting.reason in {"CrashLoopBackOff", "CreateContainerConfigError"}:
            return "PodsFailing", f"{container.name} doesn't start: {waiting.reason}"
    return None


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


def _requests(pod: PodSpec) -> dict[str, Decimal]:
    """Of a pod: the sum of its containers, or its largest init container."""
    total: dict[str, Decimal] = {}
    for container in pod.containers:
        for name, amount in container.resources.requests.items():
            total[name] = total.get(name, Decimal(0)) + quantity(amount)
    for container in pod.init_containers:
        for name, amount in container.resources.requests.items():
            total[name] = max(total.get(name, Decimal(0)), quantity(amount))
    return total


def _show(name: str, amount: Decimal) -> str:
    if name == "memory":
        return f"{amount / 2**20:.0f}Mi"
    return f"{amount.normalize():f}"
