"""Will the pods be Ready in time? One judgement over everything that pods are due for, coming or open. Pure.

What is known to stand in the way is said as soon as it is looked for, a whole lead time before the first step. What is
merely late, and what can't be seen, is said once half the lead time is gone: then somebody must look instead. So "unknown"
ends in a warning like "too few"; only what needs no pods is never warned of.

A start that was missed stays missed until the pods are there. Pods that are lost afterwards, in an open window, are
no longer a matter of being in time: the alert BillingWindowShortOfPods is about them.
"""

from datetime import datetime, tzinfo

from prescaler.plan.planner import Opening
from prescaler.window.case import Case
from prescaler.window.spec import MaxReplicasPolicy
from prescaler.window.verdict import Fact, Verdict, no, unknown, yes


def readiness(case: Case) -> Verdict:
    due, ready = case.declared.due(case.now), case.pods.ready
    if not due:
        return unknown("NotChecked", "checked from a whole lead time before the first step on")
    asked = max(map(case.within_maximum, due))
    short = [d for d in due if ready is None or ready < case.within_maximum(d)]
    obstacle = _refused(case, due) or (_obstacle(case) if short else None)
    if obstacle is not None:
        return _wont_be(case, obstacle, (short or due)[0])
    if not short:
        return yes("Sufficient", f"{asked} of {asked} pods are Ready")
    late = [d for d in short if d.start <= case.now + case.declared.lead / 2 and not _was_ready(case, d)]
    unseen = case.unreadable or case.pods.unseen
    if late and (ready is not None or unseen is not None):
        slow = Fact("StillStarting", f"only {ready} of {case.within_maximum(late[0])} pods are Ready")
        return _wont_be(case, unseen or slow, late[0])
    if ready is None:
        return unknown(*(unseen or Fact("NotReadYet", "the pods are being read")))
    return _room(case, asked)


def _refused(case: Case, due: list[Opening]) -> Fact | None:
    """Under the policy Fail the target is left alone, however many pods it has."""
    beyond = [d for d in due if d.replicas > case.within_maximum(d)]
    if not beyond or case.decision is None or case.spec.max_replicas_policy is not MaxReplicasPolicy.FAIL:
        return None
    target = case.decision.target
    return Fact("MaxReplicasTooLow", f"the maximum of {target.name} is {target.maximum}")


def _obstacle(case: Case) -> Fact | None:
    """What is known to keep pods from getting Ready: of the target, of the pods there are, of the room for more."""
    if case.decision is None:
        return case.no_target if case.unreadable is None else None
    target = case.decision.target
    return target.foreign or target.off or case.pods.cause or case.world.shortages.get(case.window.metadata.uid)


def _was_ready(case: Case, opening: Opening) -> bool:
    """Whether the pods of an open one have been counted Ready before. Where they can't be counted, that says nothing."""
    return case.pods.ready is not None and any(
        run.window == opening.window
        and run.planned_start <= opening.start <= case.now
        and opening.start < run.planned_end
        and run.ready_at is not None
        and run.min_replicas >= case.within_maximum(opening)
        for run in case.history
    )


def _room(case: Case, asked: int) -> Verdict:
    around = case.world.seen.around
    if around is None or case.pods.template is None:
        return unknown("NotReadYet", "pods, nodes and quotas are being read")
    words = f"nothing stands in the way of {asked} pods"
    if case.spec.capacity.nodes == "Check" and not around.everywhere:
        words += "; the nodes are not checked: no permission to list nodes and all pods"
    return yes("Sufficient", words)


def _wont_be(case: Case, fact: Fact, opening: Opening) -> Verdict:
    at = wall(opening.start, case.declared.schedule.zones[0])
    when = f"at {at}" if opening.start > case.now else f"since {at}"
    return no(fact.reason, f"{fact.message}. {opening.window} needs {opening.replicas} pods {when}")


def wall(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%d %b %H:%M} ({zone})"
