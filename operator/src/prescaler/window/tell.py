"""Says what was found and what was done: status, then events, then metrics. Always, also when the doing failed.

A status is written only when it says something new, and the events are that difference. The metrics are told even if the
status can't be written.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from prescaler import metrics
from prescaler.kube.client import EVENTS, WINDOWS, Kube, KubeError
from prescaler.kube.objects import FIELD_MANAGER, GROUP, VERSION, BillingWindow
from prescaler.window.assess import Assessment
from prescaler.window.carry_out import CONFLICT, REFUSALS, LeadershipLostError, Outcome
from prescaler.window.conclude import concluded
from prescaler.window.status import Status, difference
from prescaler.window.verdict import MESSAGE_MAX, VERDICTS, Notice, Verdicts, notices

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Teller:
    kube: Kube
    may_write: Callable[[], bool]
    rehearsal: str | None


async def tell(teller: Teller, assessment: Assessment, outcome: Outcome, *, again: bool) -> None:
    """Raises KubeError when the status can't be written. `again`: it failed before, too.

    A first conflict is not worth a word: somebody else was faster, and the next look a second later decides anew.
    """
    window = assessment.window
    if (problem := outcome.not_given_back or assessment.not_given_back) is not None:
        words = f"the minimum could not be given back: {problem}"
        await _event(teller, window, Notice("Warning", "NotGivenBack", words))
    if assessment.leaves:
        if outcome.failure is not None and (again or outcome.failure.status != CONFLICT):
            await _event(teller, window, Notice("Warning", "WriteFailed", str(outcome.failure)))
        return
    if outcome.replaced_drift:
        metrics.DRIFT.labels(*window.key).inc()
    failure = outcome.failure
    if failure is not None and failure.status == CONFLICT and not again:
        return
    status, verdicts = concluded(
        assessment,
        str(failure) if failure is not None else None,
        refused=failure is not None and failure.status in REFUSALS,
        set_minimum=outcome.set_minimum,
    )
    show(assessment, status, verdicts)
    changes = difference(window, status)
    if not changes:
        return
    if not teller.may_write():
        raise LeadershipLostError
    await teller.kube.patch(WINDOWS, outcome.window, {"status": changes}, "status")
    for notice in notices(assessment.previous, status):
        await _event(teller, window, notice)


def show(assessment: Assessment, status: Status, verdicts: Verdicts) -> None:
    """The metrics of one object; of one that doesn't act only that it doesn't."""
    figures: metrics.Figures = {("acting",): assessment.acts}
    if assessment.acts:
        for kind, verdict in verdicts.items():
            if VERDICTS[kind].bad is not None and verdict.status != "Unknown":
                figures["condition", kind] = verdict.status == "True"
    if assessment.acts and (case := assessment.case) is not None:
        following = case.plan.next_window(assessment.now)
        told = {
            "desired_min_replicas": case.asked,
            "applied_min_replicas": status.applied_min_replicas,
            "ready_pods": case.pods.ready,
            "ready_early_seconds": next((r.seconds_early for r in status.history if r.seconds_early is not None), None),
            "ready_time_p99_seconds": status.ready_time.p99_seconds if status.ready_time is not None else None,
            "next_opening_timestamp_seconds": following.start.timestamp() if following is not None else None,
        }
        figures |= {(name,): value for name, value in told.items() if value is not None}
        figures["phase", case.plan.now.phase.value] = 1
    metrics.show(assessment.window.key, figures)


async def _event(teller: Teller, window: BillingWindow, notice: Notice) -> None:
    """By the real clock, like everybody's events. One that is refused is logged: the status has said it already."""
    now, (namespace, name) = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), window.key
    message = f"[REHEARSAL] {notice.message}" if teller.rehearsal else notice.message
    log.info("%s/%s: %s: %s", namespace, name, notice.reason, message)
    body = {
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
    }
    try:
        await teller.kube.create(EVENTS, namespace, body)
    except KubeError as error:
        log.warning("%s/%s: the event %s is lost: %s", namespace, name, notice.reason, error)
        metrics.ERRORS.labels("event").inc()
