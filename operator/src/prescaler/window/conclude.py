"""What is said of one look, once it is known what could be done: the status, with the failure in it. Pure.

An overwrite by somebody else is held against the rival for a while, and the history is brought up to date: both depend on
whether the minimum was really set.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import UNSET

from prescaler.plan.planner import Phase
from prescaler.window.assess import Assessment
from prescaler.window.case import Case
from prescaler.window.declared import Declared
from prescaler.window.history import Look, lead_time, ready_time, runs
from prescaler.window.minimum import Decision
from prescaler.window.status import Change, Status
from prescaler.window.verdict import Verdict, Verdicts, conditions, no, yes

DRIFT_HELD = timedelta(minutes=30)
DRIFT_NOTED_EVERY = timedelta(minutes=10)  # so that a fight of every minute doesn't write a status every minute
TRANSITIONS_SHOWN = 5


def concluded(
    assessment: Assessment, failure: str | None, *, refused: bool, set_minimum: bool
) -> tuple[Status, Verdicts]:
    """The status to be written, with the failure in it."""
    a = assessment
    verdicts = dict(a.verdicts)
    if failure is not None:
        verdicts["Ready"] = no("WriteRefused" if refused else "WriteFailed", failure)
    status = _of_plan(a, a.case, verdicts, failure, set_minimum=set_minimum) if a.case is not None else _of_invalid(a)
    clock = verdicts["Rehearsal"].message if "Rehearsal" in verdicts else None
    generation = a.window.metadata.generation
    said = conditions(a.previous, verdicts, generation, a.now)
    return msgspec.structs.replace(status, observed_generation=generation, clock=clock, conditions=said), verdicts


def _of_invalid(a: Assessment) -> Status:
    """What was known of an object that has become invalid is kept."""
    return Status(
        phase="Invalid",
        applied_min_replicas=a.previous.applied_min_replicas,
        history=a.previous.history,
        replay=a.previous.replay,
        ready_time=a.previous.ready_time,
    )


def _of_plan(a: Assessment, case: Case, verdicts: Verdicts, failure: str | None, *, set_minimum: bool) -> Status:
    """Adds what follows from the outcome to `verdicts`: drift, and what the history says about the lead time."""
    plan, pods, previous = case.plan, case.pods, a.previous
    applied, overwritten_at, raised, replicas = None, None, False, None
    history, measured = previous.history, previous.ready_time
    if (decision := case.decision) is not None:
        held = decision.target.minimum
        applied = decision.minimum if case.acts and (set_minimum or failure is None) else held
        raised, replicas = set_minimum and applied > held, decision.target.replicas
        if case.acts:
            overwritten_at, verdicts["DriftDetected"] = _drift(a, decision, failed=failure is not None)
    if case.acts:
        capacity = verdicts["CapacitySufficient"]
        look = Look(
            now=a.now,
            applied=applied,
            raised=raised,
            ready=pods.ready,
            replicas=pods.replicas if pods.replicas is not None else replicas,
            wants=case.within_maximum,
            warning=capacity.message if capacity.status == "False" else None,
            first=previous.observed_generation == 0,
        )
        history = runs(previous.history, plan, case.declared.lead, look)
        measured = ready_time(history)
        verdicts["LeadTimeSufficient"] = lead_time(measured, case.declared.schedule.lead_s)
    idle = plan.now.phase is Phase.IDLE or pods.ready is None
    return Status(
        phase=plan.now.phase.value,
        window=plan.now.window,
        min_replicas=plan.now.replicas,
        applied_min_replicas=applied,
        ready=None if idle else f"{pods.ready}/{case.asked}",
        next=_next(case.declared),
        overwritten_at=overwritten_at,
        transitions=tuple(
            Change(t.at, t.state.replicas, t.state.phase.value, t.state.window or UNSET)
            for t in plan.transitions[:TRANSITIONS_SHOWN]
        ),
        replay=case.declared.records,
        ready_time=measured,
        history=history,
    )


def _drift(a: Assessment, decision: Decision, *, failed: bool) -> tuple[datetime | None, Verdict]:
    """An overwrite is held against the rival for a while: a fight is one condition, not one for each round of it."""
    noted, drift = a.previous.overwritten_at, decision.drift
    if drift is not None and decision.writes and not failed and (noted is None or a.now - noted >= DRIFT_NOTED_EVERY):
        noted = a.now
    if noted is not None and not timedelta(0) <= a.now - noted < DRIFT_HELD:
        noted = None
    if drift is not None:
        return noted, yes(drift.reason, drift.message)
    if noted is None:
        return None, no("None", "the minimum is nobody else's")
    before = a.previous.condition("DriftDetected")
    held = before is not None and before.status == "True"
    return noted, yes("Overwritten", before.message if before is not None and held else "the minimum was overwritten")


def _next(declared: Declared) -> str | None:
    if not declared.plan.transitions:
        return None
    at, (replicas, phase, _, _) = declared.plan.transitions[0]
    return f"{phase} {replicas} at {at.astimezone(declared.schedule.zones[0]):%Y-%m-%d %H:%M %Z}"
