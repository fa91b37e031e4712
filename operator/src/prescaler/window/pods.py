"""How many pods of a target are Ready, which they are, and what one of them asks for.

A Deployment and a StatefulSet count their Ready pods themselves. Of anything else with a scale subresource (an Argo Rollout,
a kind of one's own) the pods are counted by the selector that the subresource names; a living pod stands in for the template.
Where they can't be counted it is said why: "not seen" is never taken for "none", nor for "enough".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from prescaler.kube.around import Around, PodSeen
from prescaler.kube.fetched import Held
from prescaler.kube.objects import (
    BillingWindow,
    PodSpec,
    Scale,
    ScaleTargetRef,
    Selector,
)
from prescaler.kube.see import WORKLOAD_KINDS, Seen
from prescaler.window.capacity import Claim, shortages, stuck
from prescaler.window.declared import Declared
from prescaler.window.minimum import target_of
from prescaler.window.verdict import Fact


@dataclass(frozen=True, slots=True)
class Pods:
    """`ready` is None where they can't be counted: `unseen` says why, or else they are being read."""

    ready: int | None = None
    unseen: Fact | None = None
    replicas: int | None = None
    live: Sequence[PodSeen] | None = None
    template: PodSpec | None = None
    cause: Fact | None = None  # what keeps them from getting Ready


USUAL_GROUPS = {"", "apps", "extensions"}  # of a Deployment or StatefulSet; other groups have kinds of these names too
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
        usual = ref.kind in WORKLOAD_KINDS and ref.api_version.rpartition("/")[0] in USUAL_GROUPS
        return None if usual else (ref.api_version, ref.kind, self.namespace, ref.name)


def watched_of(understood: Sequence[tuple[BillingWindow, Declared]], seen: Seen, now: datetime) -> list[Watched]:
    watched = []
    for window, declared in understood:
        target = seen.targets.get((window.metadata.namespace, *declared.spec.target))
        due = [d.replicas for d in declared.due(now)]
        if target is not None and (due or declared.plan.now.replicas > declared.schedule.baseline):
            most = target_of(target)
            watched.append(Watched(window, declared, most.scales, min(max(due, default=0), most.maximum)))
    return watched


def pods_of(watched: Watched, seen: Seen, around: Held[Around], scale: Held[Scale] | None = None) -> Pods:
    if scale is not None:
        return _counted(watched, around, scale)
    ref = watched.scales
    unreadable = seen.why_unreadable(watched.namespace, ref.kind)
    if unreadable is not None:
        return Pods(unseen=Fact("PodsUnseen", f"the {ref.kind}s can't be listed: {unreadable}"))
    workload = seen.workloads.get((watched.namespace, ref.kind, ref.name))
    if workload is None:
        return Pods(0, replicas=0, cause=Fact("WorkloadNotFound", f"there is no {ref.kind} {ref.name}"))
    status, live = workload.status, None
    if status.ready_replicas < watched.need and around.value is not None and around.value.pods is not None:
        live = around.value.matching(watched.namespace, workload.spec.selector)  # only where it explains something
    cause = stuck(ref.name, status.conditions, live or ())
    return Pods(status.ready_replicas, None, status.replicas, live, workload.spec.template.spec, cause)


def _counted(watched: Watched, around: Held[Around], scale: Held[Scale]) -> Pods:
    """By selector. What was seen earlier and can't be seen now counts as not seen."""
    problem = scale.problem or around.problem
    if problem is None and scale.value is not None and around.value is not None:
        selector = _selector(scale.value.status.selector)
        if around.value.pods is None:
            problem = "no permission to list pods"
        elif selector is None:
            problem = f"the selector of its scale is not understood: `{scale.value.status.selector:.100}`"
        else:
            live = around.value.matching(watched.namespace, selector)
            ready, template = sum(pod.ready for pod in live), live[0].template if live else None
            cause = stuck(watched.scales.name, (), live)
            return Pods(ready, None, scale.value.status.replicas, live, template, cause)
    ref = watched.scales
    unseen = Fact("PodsUnseen", f"the pods of {ref.kind} {ref.name} can't be counted: {problem}")
    return Pods(unseen=unseen if problem is not None else None)


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


def _selector(text: str) -> Selector | None:
    """As the scale subresource writes it: `app=x,tier=a`. None where there is none, and for sets, which need a parser."""
    labels: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.replace("==", "=").partition("=")
        if not equals or key.endswith("!") or " " in part:
            return None
        labels[key] = value
    return Selector(labels) if labels else None
