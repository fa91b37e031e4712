"""How many pods of a target are Ready, which they are, and what one of them asks for.

A Deployment and a StatefulSet count their Ready pods themselves. Of anything else with a scale subresource (an Argo Rollout,
a kind of one's own) the pods are counted by the selector that the subresource names; a living pod stands in for the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prescaler.kube.around import Around, PodSeen
from prescaler.kube.objects import BillingWindow, PodSpec, Requirement, Scale, Selector, Workload
from prescaler.kube.see import WORKLOAD_KINDS, Seen
from prescaler.window.capacity import Claim, Shortage, shortages
from prescaler.window.declared import Declared
from prescaler.window.minimum import target_of


@dataclass(frozen=True, slots=True)
class Pods:
    ready: int | None = None
    replicas: int | None = None
    live: Sequence[PodSeen] | None = None
    template: PodSpec | None = None
    workload: Workload | None = None


class ScaleKey(NamedTuple):
    """Of an object whose kind is known by name only."""

    api_version: str
    kind: str
    namespace: str
    name: str


def scale_key(window: BillingWindow, declared: Declared, seen: Seen) -> ScaleKey | None:
    """What has to be asked for its scale, if the target's workload is of an unusual kind."""
    found = seen.targets.get((window.metadata.namespace, *declared.spec.target))
    if found is None:
        return None
    ref = found.spec.scale_target_ref
    if ref.kind in WORKLOAD_KINDS or not ref.name:
        return None
    return ScaleKey(ref.api_version, ref.kind, window.metadata.namespace, ref.name)


def pods_of(window: BillingWindow, declared: Declared, seen: Seen, scale: Scale | None, asked: int | None) -> Pods:
    """The living pods themselves are looked up only where fewer are Ready than `asked`."""
    namespace = window.metadata.namespace
    found = seen.targets.get((namespace, *declared.spec.target))
    if found is None:
        return Pods()
    ref, around = target_of(found).scales, seen.around
    workload = seen.workloads.get((namespace, ref.kind, ref.name))
    if workload is not None:
        ready, status = workload.status.ready_replicas, workload.status
        short = around is not None and around.pods is not None and asked is not None and ready < asked
        live = around.matching(namespace, workload.spec.selector) if short and around is not None else None
        return Pods(ready, status.replicas, live, workload.spec.template.spec, workload)
    if scale is None or around is None or around.pods is None:
        return Pods()
    live = around.matching(namespace, _selector(scale.status.selector))
    ready = sum(pod.ready for pod in live)
    return Pods(ready, scale.status.replicas, live, live[0].template if live else None)


def claimed(
    acting: Sequence[tuple[BillingWindow, Declared]],
    pods: Mapping[str, Pods],
    asked: Mapping[str, int],
    around: Around | None,
) -> dict[str, Shortage]:
    """What each acting window falls short of, the older ones served first."""
    if around is None or around.pods is None:
        return {}
    claims: list[Claim] = []
    waiting: set[int] = set()
    for window, declared in sorted(acting, key=lambda pair: (pair[0].metadata.creation_timestamp, pair[0].key)):
        uid = window.metadata.uid
        found, need = pods.get(uid, Pods()), asked.get(uid)
        if need is None or found.live is None or found.template is None or (found.ready or 0) >= need:
            continue
        unplaced = [p for p in found.live if not p.node]
        waiting |= {id(p) for p in unplaced}
        claims.append(
            Claim(
                uid=uid,
                namespace=window.metadata.namespace,
                missing=max(0, need - len(found.live)),
                unplaced=max(0, need - (len(found.live) - len(unplaced))),
                template=found.template,
                check_nodes=declared.spec.capacity.nodes == "Check",
            )
        )
    return shortages(claims, around, frozenset(waiting)) if claims else {}


def _selector(text: str) -> Selector:
    """As the scale subresource writes it: `app=x,tier in (a,b),!canary`. What isn't understood matches nothing."""
    labels: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.replace("==", "=").partition("=")
        if not equals or key.endswith("!") or " " in part:
            return Selector({}, [Requirement("", "Unknown")])
        labels[key] = value
    return Selector(labels)
