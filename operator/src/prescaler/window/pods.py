"""How many pods of a target are Ready, which they are, and what one of them asks for.

A Deployment and a StatefulSet count their Ready pods themselves. Of anything else with a scale subresource (an Argo Rollout,
a kind of one's own) the pods are counted by the selector that the subresource names; a living pod stands in for the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from prescaler.kube.around import Around, PodSeen
from prescaler.kube.objects import (
    BillingWindow,
    PodSpec,
    Requirement,
    Scale,
    ScaleTargetRef,
    Selector,
    Workload,
)
from prescaler.kube.see import WORKLOAD_KINDS, Seen
from prescaler.window.capacity import Claim, shortages
from prescaler.window.declared import Declared
from prescaler.window.verdict import Fact


@dataclass(frozen=True, slots=True)
class Pods:
    ready: int | None = None
    replicas: int | None = None
    live: Sequence[PodSeen] | None = None
    template: PodSpec | None = None
    workload: Workload | None = None


ScaleKey = tuple[str, str, str, str]  # apiVersion, kind, namespace, name of an object whose kind is known by name only


class Watched(NamedTuple):
    """A BillingWindow for whose target pods are needed now or soon."""

    window: BillingWindow
    declared: Declared
    scales: ScaleTargetRef
    need: int

    @property
    def uid(self) -> str:
        return self.window.metadata.uid

    @property
    def namespace(self) -> str:
        return self.window.metadata.namespace

    @property
    def scale_key(self) -> ScaleKey | None:
        """What has to be asked for its scale: a workload of an unusual kind."""
        ref = self.scales
        usual = ref.kind in WORKLOAD_KINDS or not ref.name
        return None if usual else (ref.api_version, ref.kind, self.namespace, ref.name)


def watched_of(understood: Sequence[tuple[BillingWindow, Declared]], seen: Seen, now: datetime) -> list[Watched]:
    found = ((w, d, seen.targets.get((w.metadata.namespace, *d.spec.target)), d.asks(now)) for w, d in understood)
    return [
        Watched(w, d, t.spec.scale_target_ref, need) for w, d, t, need in found if t is not None and need is not None
    ]


def pods_of(watched: Watched, seen: Seen, scale: Scale | None = None) -> Pods:
    """The living pods themselves are looked up only where fewer are Ready than needed."""
    around = seen.around if seen.around is not None and seen.around.pods is not None else None
    workload = seen.workloads.get((watched.namespace, watched.scales.kind, watched.scales.name))
    if workload is not None:
        ready, short = workload.status.ready_replicas, workload.status.ready_replicas < watched.need
        live = around.matching(watched.namespace, workload.spec.selector) if short and around is not None else None
        return Pods(ready, workload.status.replicas, live, workload.spec.template.spec, workload)
    if scale is None or around is None:
        return Pods()
    live = around.matching(watched.namespace, _selector(scale.status.selector))
    return Pods(sum(pod.ready for pod in live), scale.status.replicas, live, live[0].template if live else None)


def claimed(acting: Sequence[Watched], pods: Mapping[str, Pods], around: Around | None) -> dict[str, Fact]:
    """What each acting window falls short of, the older ones served first."""
    if around is None or around.pods is None:
        return {}
    claims: list[Claim] = []
    waiting: set[int] = set()
    for each in sorted(acting, key=lambda w: (w.window.metadata.creation_timestamp, w.window.key)):
        found = pods[each.uid]
        if found.live is None or found.template is None or (found.ready or 0) >= each.need:
            continue
        unplaced = [p for p in found.live if not p.node]
        waiting |= {id(p) for p in unplaced}
        claims.append(
            Claim(
                uid=each.uid,
                namespace=each.namespace,
                missing=max(0, each.need - len(found.live)),
                unplaced=max(0, each.need - (len(found.live) - len(unplaced))),
                template=found.template,
                check_nodes=each.declared.spec.capacity.nodes == "Check",
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
