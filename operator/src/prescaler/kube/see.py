"""What the cluster holds in one pass: every kind of object listed once, however many BillingWindows ask for it.

The lists of BillingWindows and targets are consistent reads, so a decision is never made on something older than the
pass. A list that fails costs those who need it: it is remembered with its reason. Only when no BillingWindow can be listed
at all is the API server away, which concerns everybody.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from prescaler import metrics
from prescaler.kube.around import Around
from prescaler.kube.client import DEPLOYMENTS, HPAS, SCALED_OBJECTS, STATEFUL_SETS, WINDOWS, Kind, Kube, KubeError
from prescaler.kube.objects import BillingWindow, Hpa, ScaledObject, Workload

log = logging.getLogger(__name__)

T = TypeVar("T", bound=msgspec.Struct)
Key = tuple[str, str, str]  # namespace, kind, name

NAMESPACES_LISTED_APART_MAX = 10  # beyond that, one list over the whole cluster is cheaper
TARGET_KINDS: dict[str, Kind[Any]] = {"HorizontalPodAutoscaler": HPAS, "ScaledObject": SCALED_OBJECTS}
WORKLOAD_KINDS: dict[str, Kind[Any]] = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS}
KINDS = TARGET_KINDS | WORKLOAD_KINDS


@dataclass(slots=True)
class Seen:
    targets: dict[Key, Hpa | ScaledObject] = field(default_factory=dict)
    workloads: dict[Key, Workload] = field(default_factory=dict)
    unreadable: dict[tuple[str, str], KubeError] = field(default_factory=dict)  # (namespace or "", kind) -> why
    around: Around | None = None

    def why_unreadable(self, namespace: str, kind: str) -> KubeError | None:
        return self.unreadable.get((namespace, kind)) or self.unreadable.get(("", kind))


async def list_windows(kube: Kube, scopes: Sequence[str | None]) -> tuple[list[BillingWindow], set[str | None]]:
    """Also the scopes that could not be listed. Raises KubeError when none can be."""
    answers = await asyncio.gather(*(_attempt(kube, WINDOWS, scope) for scope in scopes))
    failed = {scope: a for scope, a in zip(scopes, answers, strict=True) if isinstance(a, KubeError)}
    metrics.UNSEEN.set(len(failed))
    if len(failed) == len(answers):
        raise next(iter(failed.values()))
    for scope, error in failed.items():
        log.warning("the BillingWindows of %s can't be listed: %s", scope, error)
    return [window for answer in answers if not isinstance(answer, KubeError) for window in answer], {*failed}


async def see(kube: Kube, seen: Seen, kinds: set[str], namespaces: set[str], *, clusterwide: bool) -> None:
    """Add the targets or workloads of these kinds, in the namespaces that have BillingWindows."""
    apart = not clusterwide or len(namespaces) <= NAMESPACES_LISTED_APART_MAX
    scopes: list[str | None] = [*sorted(namespaces)] if apart else [None]
    wanted = [(kind, KINDS[kind], scope) for kind in sorted(kinds) for scope in scopes]
    answers = await asyncio.gather(*(_attempt(kube, resource, scope) for _, resource, scope in wanted))
    for (kind, _, scope), answer in zip(wanted, answers, strict=True):
        if isinstance(answer, KubeError):
            seen.unreadable[scope or "", kind] = answer
            continue
        into: dict[Key, Any] = seen.targets if kind in TARGET_KINDS else seen.workloads
        into |= {(found.metadata.namespace, kind, found.metadata.name): found for found in answer}


async def _attempt(kube: Kube, kind: Kind[T], scope: str | None) -> list[T] | KubeError:
    try:
        return await kube.list(kind, scope)
    except KubeError as error:
        return error
