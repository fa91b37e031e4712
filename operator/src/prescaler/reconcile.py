"""One look at one BillingWindow: decide, write what differs, tell people.

The order of the writes is what makes a crash between any two of them harmless: the finalizer before the HPA is raised,
the HPA before the status, the status before the events; and on the way down the HPA before the finalizer goes. Whatever
is missing is seen by the next look, because nothing is remembered but caches.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prescaler import hpa as target
from prescaler import metrics
from prescaler.clock import Clock
from prescaler.declared import Declared
from prescaler.kube import EVENTS, HPAS, WINDOWS, Kube, KubeError
from prescaler.objects import FIELD_MANAGER, FINALIZER, GROUP, VERSION, BillingWindow, Hpa
from prescaler.outlook import Outlook
from prescaler.plan import Phase
from prescaler.replay import timestamp
from prescaler.snapshot import Snapshot
from prescaler.spec import InvalidSpecError, Mode
from prescaler.status import Notice, Report, difference, history, judge_pods, judge_window, notices, plan_fields

log = logging.getLogger(__name__)

REFUSALS = {400, 403, 404, 422}  # answers that waiting doesn't change
MESSAGE_MAX = 1000  # the API server's limit on an event is 1024


class LeadershipLostError(Exception):
    """Another replica acts by now; nothing more may be written."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    kube: Kube
    clock: Clock
    may_write: Callable[[], bool]

    async def invalid(self, window: BillingWindow, error: InvalidSpecError) -> None:
        if window.metadata.deletion_timestamp is not None:
            await self._set_finalizer(window, wanted=False)  # what the baseline was can't be known
            return
        report = Report(window.metadata.generation, self.clock.now(), {"phase": "Invalid"})
        report.judge("Ready", holds=False, reason="InvalidSpec", message=str(error))
        await self._tell(window, report)

    async def release(self, window: BillingWindow, declared: Declared | None, hpa: Hpa | None) -> None:
        """The object is being deleted: give the HPA back, then let the object go, whatever happens to the HPA."""
        if FINALIZER not in window.metadata.finalizers:
            return
        changes = target.release(declared.spec, hpa) if declared is not None and hpa is not None else None
        if changes is not None and hpa is not None:
            try:
                await self._patch(HPAS, hpa.metadata, changes)
            except KubeError as error:
                if error.status not in REFUSALS:
                    raise
                log.warning("%s/%s: the baseline can't be restored, letting go: %s", *window.key, error)
        await self._set_finalizer(window, wanted=False)

    async def reconcile(self, window: BillingWindow, declared: Declared, snapshot: Snapshot, rival: str | None) -> None:
        """`rival` names the older BillingWindow that has the same HPA, if there is one."""
        plan, spec, zone = declared.plan, declared.spec, declared.schedule.zones[0]
        hpa = snapshot.hpas.get((window.metadata.namespace, spec.target_ref.name))
        report = Report(window.metadata.generation, self.clock.now(), plan_fields(plan, zone))
        seen, ready = window.status.get("history", []), None
        applied = await self._act(window, declared, hpa, rival, report)
        judge_window(report, plan, zone)
        if hpa is not None:
            outlook = Outlook(spec, declared.schedule, plan, report.now, hpa, snapshot)
            workload = await snapshot.workload(hpa) if outlook.watches else None
            ready = workload.status.ready_replicas if workload is not None else None
            judge_pods(report, plan, ready)
            await outlook.judge(report, workload)
            if plan.now.phase is not Phase.IDLE and ready is not None:
                report.fields["ready"] = f"{ready}/{plan.now.replicas}"
            seen = history(seen, plan, report.now, ready, hpa.status.current_replicas)
        else:
            judge_pods(report, plan, None)
        report.fields |= {"appliedMinReplicas": applied, "history": seen or None, "replay": declared.replay_record}
        for verdict in declared.verdicts:
            report.verdicts[verdict] = declared.verdicts[verdict]
        await self._tell(window, report)
        _measure(window, declared, report, applied, ready)

    async def _act(
        self, window: BillingWindow, declared: Declared, hpa: Hpa | None, rival: str | None, report: Report
    ) -> int | None:
        """Bring the HPA to the plan, or say why not. Returns the minimum that it has now."""
        spec, name = declared.spec, declared.spec.target_ref.name
        if hpa is None:
            report.judge("Ready", holds=False, reason="TargetNotFound", message=f"there is no HPA {name}")
            return None
        minimum = hpa.spec.min_replicas
        if rival is not None:
            words = f"HPA {name} belongs to the older BillingWindow {rival}"
            report.judge("Ready", holds=False, reason="Conflicted", message=words)
            report.judge("Conflicted", holds=True, reason="OlderWins", message=words)
            return minimum
        last_applied = window.status.get("appliedMinReplicas")
        decision = target.decide(spec, hpa, declared.plan.now.replicas, last_applied)
        drift = decision.drift or target.Fact("None", "the minimum is nobody else's")
        report.judge("DriftDetected", holds=decision.drift is not None, reason=drift.reason, message=drift.message)
        if spec.suspend:
            words = f"suspended: minReplicas of HPA {name} stays {minimum}"
            report.judge("Ready", holds=False, reason="Suspended", message=words)
        elif decision.blocked is not None:
            report.judge("Ready", holds=False, reason=decision.blocked.reason, message=decision.blocked.message)
        elif spec.mode is Mode.PREVIEW:
            words = f"preview: minReplicas of HPA {name} is {minimum} and would be {decision.minimum}"
            report.judge("Ready", holds=True, reason="Preview", message=words)
        else:
            minimum = await self._apply(window, declared, hpa, decision, report)
        return minimum

    async def _apply(
        self, window: BillingWindow, declared: Declared, hpa: Hpa, decision: target.Decision, report: Report
    ) -> int:
        try:
            await self._write(window, declared, hpa, decision)
        except KubeError as error:
            if error.status not in REFUSALS:
                raise
            report.judge("Ready", holds=False, reason="WriteRefused", message=str(error))
            return hpa.spec.min_replicas
        if decision.replaces_drift:
            metrics.DRIFT.labels(*window.key).inc()
        words = f"minReplicas of HPA {hpa.metadata.name} is {decision.minimum}"
        report.judge("Ready", holds=True, reason="Applied", message=words)
        return decision.minimum

    async def _write(self, window: BillingWindow, declared: Declared, hpa: Hpa, decision: target.Decision) -> None:
        raised = declared.plan.now.replicas > declared.spec.baseline.min_replicas
        if raised:
            await self._set_finalizer(window, wanted=True)
        if decision.changes is not None:
            await self._patch(HPAS, hpa.metadata, decision.changes)
        if not raised:
            await self._set_finalizer(window, wanted=False)

    async def _set_finalizer(self, window: BillingWindow, *, wanted: bool) -> None:
        """Only while there is something to give back: outside the windows a deletion waits for nobody."""
        finalizers = window.metadata.finalizers
        if (FINALIZER in finalizers) == wanted:
            return
        new = [*finalizers, FINALIZER] if wanted else [f for f in finalizers if f != FINALIZER]
        changed = await self._patch(WINDOWS, window.metadata, {"metadata": {"finalizers": new}})
        window.metadata = changed.metadata

    async def _tell(self, window: BillingWindow, report: Report) -> None:
        rehearsal = self.clock.rehearsal
        if rehearsal is not None:
            report.fields["clock"] = rehearsal
            report.judge("Rehearsal", holds=True, reason="RehearsalClock", message=rehearsal)
        previous = window.status
        new = report.status(previous)
        changes = difference(previous, new)
        if not changes:
            return
        await self._patch(WINDOWS, window.metadata, {"status": changes}, "status")
        for notice in notices(previous, new):
            await self._event(window, notice, rehearsal)

    async def _event(self, window: BillingWindow, notice: Notice, rehearsal: str | None) -> None:
        """By the real clock, like everybody's events."""
        now, (namespace, name) = timestamp(datetime.now(UTC)), window.key
        message = f"[REHEARSAL] {notice.message}" if rehearsal else notice.message
        log.info("%s/%s: %s: %s", namespace, name, notice.reason, message)
        await self.kube.create(
            EVENTS,
            namespace,
            {
                "metadata": {"name": f"{name[:200]}.{uuid.uuid4().hex[:16]}"},
                "involvedObject": {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": "BillingWindow",
                    "namespace": namespace,
                    "name": name,
                    "uid": window.metadata.uid,
                },
                "type": notice.type,
                "reason": notice.reason,
                "message": message[:MESSAGE_MAX],
                "source": {"component": FIELD_MANAGER},
                "reportingComponent": FIELD_MANAGER,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            },
        )

    async def _patch(self, kind: Any, seen: Any, changes: dict[str, Any], subresource: str = "") -> Any:
        if not self.may_write():
            raise LeadershipLostError
        return await self.kube.patch(kind, seen, changes, subresource)


def _measure(window: BillingWindow, declared: Declared, report: Report, applied: int | None, ready: int | None) -> None:
    plan = declared.plan
    following = next((o.start for o in plan.openings if o.start > report.now), None)
    holds = {kind: status == "True" for kind, (status, _, _) in report.verdicts.items()}
    figures = metrics.Figures(plan.now.phase.value, plan.now.replicas, applied, ready, following, holds)
    metrics.show(window.key, figures)
