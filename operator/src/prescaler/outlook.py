"""Will the pods be Ready in time: readiness against the next deadlines, and the first cause found if they won't.

Looked at from a whole lead time before the first step on, so that a warning comes at least half the lead time before
the start: first what Kubernetes says about pods that don't start, then what doesn't fit, last what is too slow.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from prescaler import capacity
from prescaler.capacity import Shortage
from prescaler.objects import Hpa, Workload
from prescaler.plan import Opening, Phase, Plan, Schedule
from prescaler.snapshot import Snapshot
from prescaler.spec import MaxReplicasPolicy, Spec
from prescaler.status import Report, wall


@dataclass(frozen=True, slots=True)
class Outlook:
    spec: Spec
    schedule: Schedule
    plan: Plan
    now: datetime
    hpa: Hpa
    snapshot: Snapshot

    @property
    def deadlines(self) -> list[Opening]:
        """What begins within twice the lead time (and the ramp)."""
        horizon = timedelta(seconds=2 * self.schedule.lead_s + self.schedule.ramp_up.duration_s)
        return [d for d in self.plan.deadlines if self.now < d.start <= self.now + horizon]

    @property
    def watches(self) -> bool:
        return self.plan.now.phase is not Phase.IDLE or bool(self.deadlines)

    async def judge(self, report: Report, workload: Workload | None) -> None:
        shortage = self._declared() or (await self._observed(workload) if workload is not None else None)
        if shortage is None:
            words = f"nothing stands in the way of {self.schedule.highest} pods"
            if self.snapshot.room_forbidden:
                words += "; the nodes are not checked, for want of the right to list nodes and all pods"
            report.judge("CapacitySufficient", holds=True, reason="Sufficient", message=words)
            return
        message = shortage.message
        if self.deadlines:
            first = self.deadlines[0]
            zone = self.schedule.zones[0]
            message += f". {first.window} needs {first.replicas} pods at {wall(first.start, zone)}"
        report.judge("CapacitySufficient", holds=False, reason=shortage.reason, message=message)

    def _declared(self) -> Shortage | None:
        """What is known without looking at pods: it is told as soon as the object is there."""
        highest = self.schedule.highest
        shortage = capacity.connections(self.spec.capacity, highest)
        if shortage is not None:
            return shortage
        most, name = self.hpa.spec.max_replicas, f"maxReplicas of HPA {self.hpa.metadata.name}"
        if self.spec.max_replicas_policy is MaxReplicasPolicy.RAISE and self.spec.max_replicas_ceiling is not None:
            most, name = max(most, self.spec.max_replicas_ceiling), "maxReplicasCeiling"
        if highest > most:
            return Shortage("MaxReplicasTooLow", f"{name} is {most}; the plan asks for up to {highest}")
        return None

    async def _observed(self, workload: Workload) -> Shortage | None:
        target = max([d.replicas for d in self.deadlines] + [self.plan.now.replicas])
        ready = workload.status.ready_replicas
        if not self.watches or self.plan.now.phase is Phase.RAMP_DOWN or ready >= target:
            return None
        pods = await self.snapshot.pods(workload)
        shortage = capacity.stuck(workload, pods)
        if shortage is None:
            missing = target - len(pods)
            quotas = await self.snapshot.quotas(workload.metadata.namespace) if missing > 0 else []
            shortage = capacity.quota(missing, workload, quotas)
        return shortage or await self._room(workload, target) or self._too_slow(ready)

    async def _room(self, workload: Workload, target: int) -> Shortage | None:
        room = await self.snapshot.room() if self.spec.capacity.nodes == "Check" else None
        if room is None:
            return None
        nodes, pods = room
        mine = workload.spec.selector.match_labels.items()
        placed = sum(
            bool(p.spec.node_name) and p.metadata.namespace == workload.metadata.namespace
            and mine <= p.metadata.labels.items()
            for p in pods
        )  # fmt: skip
        return capacity.nodes(target - placed, workload, nodes, pods) if target > placed else None

    def _too_slow(self, ready: int) -> Shortage | None:
        half = timedelta(seconds=self.schedule.lead_s / 2)
        late = next((d for d in self.deadlines if d.start <= self.now + half and ready < d.replicas), None)
        if late is None or self.plan.now.phase is Phase.IDLE:
            return None
        return Shortage("StillStarting", f"only {ready} of {late.replicas} pods are Ready in half the lead time")
