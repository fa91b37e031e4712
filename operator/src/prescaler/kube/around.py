"""What stands around the targets: pods, nodes, quotas. Listed together, beside the passes, and kept for half a minute.

They explain why pods don't start and whether more would fit; what is written to a target never waits for them. A pod
becomes a few shared values at once: ten thousand whole pods would be a hundred megabytes. A kind that may not be listed
is None, not empty: "unknown" and "none" lead to different advice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

from prescaler.kube.client import NODES, PODS, QUOTAS, Kind, Kube, KubeError
from prescaler.kube.objects import Container, Node, Pod, PodSpec, Quota, Requirement, Selector

T = TypeVar("T", bound=msgspec.Struct)
AROUND_KEPT_S = 30.0
Amounts = tuple[tuple[str, int], ...]  # resource -> thousandths of a unit
Labels = frozenset[tuple[str, str]]

_FACTORS = {"n": 1e-6, "u": 1e-3, "m": 1, "": 1000, **{s: 1000 * 1000**i for i, s in enumerate("kMGTPE", start=1)}}
_FACTORS |= {f"{s}i": 1000 * 1024**i for i, s in enumerate("KMGTPE", start=1)}
_PULL_PROBLEMS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_FINISHED = {"Succeeded", "Failed"}  # evicted pods are Failed


class PodSeen(NamedTuple):
    namespace: str
    labels: Labels
    node: str
    ready: bool
    requests: Amounts
    cause: tuple[str, str] | None  # why it doesn't start: a reason and a sentence
    template: PodSpec


@dataclass(frozen=True, slots=True)
class Around:
    """`pods` are the live ones: neither finished, nor evicted, nor on their way out."""

    pods: Sequence[PodSeen] | None = None
    nodes: Sequence[Node] | None = None
    quotas: Sequence[Quota] = ()
    everywhere: bool = False  # all pods of the cluster were listed: the nodes' free room is known
    by_label: dict[tuple[str, tuple[str, str]], list[PodSeen]] = field(default_factory=dict)

    def matching(self, namespace: str, selector: Selector) -> list[PodSeen]:
        """A selector that names no label matches nothing here: in a workload it is not allowed."""
        items = [(key, value) for key, value in selector.match_labels.items()]
        lists = [self.by_label.get((namespace, item), []) for item in items]
        candidates = min(lists, key=len) if lists else []
        if not lists and selector.match_expressions:
            candidates = [p for p in self.pods or () if p.namespace == namespace]
        return [p for p in candidates if p.labels.issuperset(items) and _expressed(selector, dict(p.labels))]


async def look_around(kube: Kube, scopes: Sequence[str | None]) -> Around:
    """Nodes and all pods where that is allowed, else the pods of the namespaces that are looked after."""
    nodes = await _listed(kube, NODES, None)
    pods = await _listed(kube, PODS, None) if nodes is not None else None
    everywhere = pods is not None
    if pods is None:
        found = [await _listed(kube, PODS, scope) for scope in scopes]
        pods = [p for part in found for p in part or ()] if any(part is not None for part in found) else None
    quotas = [q for scope in scopes for q in await _listed(kube, QUOTAS, scope) or ()]
    live = list(seen(pods)) if pods is not None else None
    by_label: dict[tuple[str, tuple[str, str]], list[PodSeen]] = defaultdict(list)
    for pod in live or ():
        for item in pod.labels:
            by_label[pod.namespace, item].append(pod)
    return Around(live, nodes, quotas, everywhere, dict(by_label))


async def _listed(kube: Kube, kind: Kind[T], namespace: str | None) -> list[T] | None:
    try:
        return await kube.list(kind, namespace)
    except KubeError as error:
        if error.status == 403:  # noqa: PLR2004 - the installation chose not to grant it
            return None
        raise


def seen(pods: Iterable[Pod]) -> Iterator[PodSeen]:
    shared: dict[object, object] = {}  # pods of one workload are alike: their values are kept once

    def once(value: T | Labels | Amounts, key: object) -> object:
        return shared.setdefault(key, value)

    for pod in pods:
        if pod.status.phase in _FINISHED or pod.metadata.deletion_timestamp is not None:
            continue
        labels = frozenset(pod.metadata.labels.items())
        amounts = requests(pod.spec)
        template = msgspec.structs.replace(pod.spec, node_name="")
        ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
        yield PodSeen(
            namespace=pod.metadata.namespace,
            labels=once(labels, labels),  # type: ignore[arg-type]  # what is kept once is of the same type
            node=pod.spec.node_name,
            ready=ready,
            requests=once(amounts, amounts),  # type: ignore[arg-type]  # likewise
            cause=_cause(pod) if not ready else None,
            template=once(template, (pod.metadata.namespace, labels, amounts)),  # type: ignore[arg-type]  # likewise
        )


@lru_cache(maxsize=4096)
def quantity(text: str) -> int:
    """In thousandths, rounded up. A unit younger than this code is 0: better no warning than a wrong one."""
    number = text.rstrip("numkKMGTPEi")
    try:
        return -int(-float(number) * _FACTORS[text[len(number) :]] // 1)
    except (ValueError, KeyError, OverflowError):
        return 0


def requests(pod: PodSpec) -> Amounts:
    return _total(pod, lambda c: {**c.resources.limits, **c.resources.requests})  # a limit alone is the request too


def limits(pod: PodSpec) -> Amounts:
    return _total(pod, lambda c: c.resources.limits)


def _total(pod: PodSpec, of: Callable[[Container], dict[str, str]]) -> Amounts:
    """Containers and sidecars together, or the largest init container beside the sidecars started before it."""
    running: dict[str, int] = {}
    highest: dict[str, int] = {}
    for container in pod.init_containers:
        for name, amount in of(container).items():
            if container.restart_policy == "Always":
                running[name] = running.get(name, 0) + quantity(amount)
            highest[name] = max(
                highest.get(name, 0),
                running.get(name, 0) + (quantity(amount) if container.restart_policy != "Always" else 0),
            )
    for container in pod.containers:
        for name, amount in of(container).items():
            running[name] = running.get(name, 0) + quantity(amount)
    total = {name: max(running.get(name, 0), highest.get(name, 0)) for name in running.keys() | highest.keys()}
    if pod.resources is not None:  # of the pod as a whole: it goes before the containers' sum
        total |= {name: quantity(amount) for name, amount in of(Container(pod.resources)).items()}
    for name, amount in pod.overhead.items():
        total[name] = total.get(name, 0) + quantity(amount)
    return tuple(sorted(total.items()))


def _cause(pod: Pod) -> tuple[str, str] | None:
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.reason == "Unschedulable":
            return "Unschedulable", f"can't be scheduled: {condition.message}"
    for container in pod.status.container_statuses:
        waiting = container.state.get("waiting")
        if waiting is not None and waiting.reason in _PULL_PROBLEMS:
            return "ImagePull", f"the image can't be pulled: {waiting.reason} {waiting.message}".rstrip()
        if waiting is not None and waiting.reason in {"CrashLoopBackOff", "CreateContainerConfigError"}:
            return "PodsFailing", f"{container.name} doesn't start: {waiting.reason}"
    return None


def _expressed(selector: Selector, labels: dict[str, str]) -> bool:
    def holds(rule: Requirement) -> bool:
        value = labels.get(rule.key)
        known = {"In": value in rule.values, "NotIn": value not in rule.values, "Exists": value is not None}
        return known.get(rule.operator, rule.operator == "DoesNotExist" and value is None)

    return all(holds(rule) for rule in selector.match_expressions)
