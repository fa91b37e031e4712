"""Which replica acts: a Kubernetes Lease, taken and renewed with resourceVersion preconditions.

Two replicas are harmless either way (every write carries a precondition); the Lease keeps them from doing everything
twice. Goes by the real clock. A holder counts as gone when its record has not changed for a whole duration as *this*
process has watched it, so clocks of different nodes need not agree.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prescaler.kube.client import LEASES, Kube, KubeError
from prescaler.kube.objects import Lease

log = logging.getLogger(__name__)

DURATION_S = 30
RENEW_S = 10


class LeaderLease:
    def __init__(
        self,
        kube: Kube,
        namespace: str,
        identity: str,
        *,
        name: str = "prescaler",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube, self._namespace, self._name, self._identity = kube, namespace, name, identity
        self._monotonic = monotonic
        self._held_until = 0.0
        self._renew_at = 0.0
        self._seen = ""  # the resourceVersion of the holder's last sign of life, and when we first saw it
        self._seen_at = 0.0
        self._lock = asyncio.Lock()

    def held(self) -> bool:
        return self._monotonic() < self._held_until

    async def acquire(self) -> bool:
        """Take or keep the Lease; False while another replica has it. Asks the API server only when renewal is due."""
        async with self._lock:
            return await self._acquire()

    async def keep(self) -> None:
        """Renew for as long as it is held, however long a pass takes."""
        while True:
            await asyncio.sleep(RENEW_S / 2)
            if self.held():
                try:
                    await self.acquire()
                except KubeError as error:
                    log.warning("the Lease can't be renewed: %s", error)

    async def _acquire(self) -> bool:
        if self.held() and self._monotonic() < self._renew_at:
            return True
        asked_at = self._monotonic()
        lease = await self._kube.get(LEASES, self._namespace, self._name)
        if lease is not None and not self._free(lease):
            self._held_until = 0.0
            return False
        try:
            if lease is None:
                body = {"metadata": {"name": self._name}, "spec": self._record(0)}
                await self._kube.create(LEASES, self._namespace, body)
            else:
                mine = lease.spec.holder_identity == self._identity
                transitions = (lease.spec.lease_transitions or 0) + (not mine)
                await self._kube.patch(LEASES, lease.metadata, {"spec": self._record(transitions)})
        except KubeError as error:
            if error.status == 409:  # noqa: PLR2004 - somebody was faster
                return self.held()
            raise
        self._held_until, self._renew_at = asked_at + DURATION_S, asked_at + RENEW_S
        return True

    async def release(self) -> None:
        """Let the next replica start at once instead of after a whole duration."""
        if not self.held():
            return
        self._held_until = 0.0
        lease = await self._kube.get(LEASES, self._namespace, self._name)
        if lease is not None and lease.spec.holder_identity == self._identity:
            await self._kube.patch(LEASES, lease.metadata, {"spec": {"holderIdentity": ""}})

    def _free(self, lease: Lease) -> bool:
        if lease.spec.holder_identity in {None, "", self._identity}:
            return True
        if lease.metadata.resource_version != self._seen:
            self._seen, self._seen_at = lease.metadata.resource_version, self._monotonic()
        return self._monotonic() - self._seen_at > (lease.spec.lease_duration_seconds or DURATION_S)

    def _record(self, transitions: int) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_S,
            "leaseTransitions": transitions,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
