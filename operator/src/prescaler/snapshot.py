"""What the cluster looks like in one tick: each kind of object is listed once, however many BillingWindows ask for it.

Lists are consistent reads, so a decision is never made on something older than the tick. The expensive ones (all pods
and nodes, for the fit of a coming window) are kept for a minute. A kind that the service account may not list is
reported as None, not as empty: "unknown" and "none" lead to different advice.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from prescaler.kube import DEPLOYMENTS, HPAS, NODES, PODS, QUOTAS, STATEFUL_SETS, Kind, Kube, KubeError
from prescaler.objects import BillingWindow, Hpa, Node, Pod, Quota, Workload

T = TypeVar("T", bound=msgspec.Struct)

NAMESPACES_LISTED_APART_MAX = 10  # beyond that, one list over the whole cluster is cheaper
ROOM_KEPT_S = 60.0


class Room:
    """The nodes and every pod on them, kept from tick to tick."""

    def __init__(self, kube: Kube, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._kube, self._monotonic = kube, monotonic
        self._lock = asyncio.Lock()
        self._found: tuple[Sequence[Node], Sequence[Pod]] | None = None
        self._at = float("-inf")
        self.forbidden = False

    async def look(self) -> tuple[Sequence[Node], Sequence[Pod]] | None:
        async with self._lock:
            if self._monotonic() - self._at > ROOM_KEPT_S:
                nodes = await listed(self._kube, NODES, None)
                pods = await listed(self._kube, PODS, None) if nodes is not None else None
                self._found = None if nodes is None or pods is None else (nodes, pods)
                self.forbidden = self._found is None
                self._at = self._monotonic()
        return self._found


class Snapshot:
    def __init__(self, kube: Kube, windows: Sequence[BillingWindow], room: Room, *, clusterwide: bool) -> None:
        self._kube, self._room = kube, room
        apart = sorted({w.metadata.namespace for w in windows})
        self._scopes = [None] if clusterwide and len(apart) > NAMESPACES_LISTED_APART_MAX else apart
        self.hpas: dict[tuple[str, str], Hpa] = {}
        self._workloads: dict[str, dict[tuple[str, str], Workload]] = {}
        self._lock = asyncio.Lock()

    async def read(self) -> None:
        for scope in self._scopes:
            for hpa in await self._kube.list(HPAS, scope):
                self.hpas[hpa.metadata.namespace, hpa.metadata.name] = hpa

    async def workload(self, hpa: Hpa) -> Workload | None:
        """The HPA's target, if it is of a kind that tells how many of its pods are Ready."""
        target = hpa.spec.scale_target_ref
        kind = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS}.get(target.kind)
        if kind is None:
            return None
        async with self._lock:
            if kind.plural not in self._workloads:
                found = [w for scope in self._scopes for w in await self._kube.list(kind, scope)]
                self._workloads[kind.plural] = {(w.metadata.namespace, w.metadata.name): w for w in found}
        return self._workloads[kind.plural].get((hpa.metadata.namespace, target.name))

    async def pods(self, workload: Workload) -> Sequence[Pod]:
        selector = ",".join(f"{key}={value}" for key, value in sorted(workload.spec.selector.match_labels.items()))
        return await listed(self._kube, PODS, workload.metadata.namespace, selector) or []

    async def quotas(self, namespace: str) -> Sequence[Quota]:
        return await listed(self._kube, QUOTAS, namespace) or []

    @property
    def room_forbidden(self) -> bool:
        return self._room.forbidden

    async def room(self) -> tuple[Sequence[Node], Sequence[Pod]] | None:
        return await self._room.look()


async def listed(kube: Kube, kind: Kind[T], namespace: str | None, selector: str = "") -> Sequence[T] | None:
    try:
        return await kube.list(kind, namespace, selector)
    except KubeError as error:
        if error.status == 403:  # noqa: PLR2004 - the installation chose not to grant it
            return None
        raise
