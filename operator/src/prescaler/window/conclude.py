"""What is said of one look, once it is known what could be done: the status, with the failure in it. Pure.

An overwrite by somebody else is held against the rival for a while, and the history is brought up to date: both depend on
whether the minimum was really set.
"""

from datetime import datetime, timedelta, tzinfo

import msgspec

from prescaler.plan.planner import Phase
from prescaler.window.assess import Assessment
from prescaler.window.declared import Declared
from prescaler.window.history import Look, lead_time, ready_time, runs
from prescaler.window.status import Change, Status
from prescaler.window.verdict import Verdicts, conditions, no, yes

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
    status = (
        _of_invalid(a) if a.declared is None else _of_plan(a, a.declared, verdicts, failure, set_minimum=set_minimum)
    )
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


def _of_plan(
    a: Assessment, declared: Declared, verdicts: Verdicts, failure: str | None, *, set_minimum: bool
) -> Status:
    """Adds what follows from the outcome to `verdicts`: drift, and what the history says about the lead time."""
    plan, zone, previous = declared.plan, declared.schedule.zones[0], a.previous
    applied = _applied(a, failure, set_minimum=set_minimum)
    overwritten_at = _drift(a, verdicts, failed=failure is not None)
    history, measured = previous.history, previous.ready_time
    if a.acts and a.target is not None:
        capacity = verdicts.get("CapacitySufficient")
        look = Look(
            now=a.now,
            applied=applied,
            raised=set_minimum and applied is not None and applied > a.target.minimum,
            ready=a.pods.ready,
            replicas=a.pods.replicas if a.pods.replicas is not None else a.target.replicas,
            maximum=a.target.maximum,
            warning=capacity.message if capacity is not None and capacity.status == "False" else None,
            first=previous.observed_generation == 0,
        )
        history = runs(previous.history, plan, declared.lead, look)
        measured = ready_time(history)
        verdicts["LeadTimeSufficient"] = lead_time(measured, declared.schedule.lead_s)
    asked = a.decision.asked if a.decision is not None else plan.now.replicas
    idle = plan.now.phase is Phase.IDLE or a.pods.ready is None
    return Status(
        phase=plan.now.phase.value,
        window=plan.now.window,
        min_replicas=plan.now.replicas,
        applied_min_replicas=applied,
        ready=None if idle else f"{a.pods.ready}/{asked}",
        next=_next(declared, zone),
        overwritten_at=overwritten_at,
        transitions=tuple(
            Change(t.at, t.state.replicas, t.state.phase.value, t.state.window) if t.state.window is not None
            else Change(t.at, t.state.replicas, t.state.phase.value)
            for t in plan.transitions[:TRANSITIONS_SHOWN]
        ),
        replay=declared.records,
        ready_time=measured,
        history=history,
    )  # fmt: skip


def _applied(a: Assessment, failure: str | None, *, set_minimum: bool) -> int | None:
    if a.target is None or a.decision is None:
        return None
    if not a.acts:
        return a.target.minimum
    return a.decision.minimum if set_minimum or failure is None else a.target.minimum


def _drift(a: Assessment, verdicts: Verdicts, *, failed: bool) -> datetime | None:
    """An overwrite is held against the rival for a while: a fight is one condition, not one for each round of it."""
    if not a.acts or a.decision is None:
        return None
    noted = a.previous.overwritten_at
    drift = a.decision.drift
    if drift is not None and a.decision.writes and not failed and (noted is None or a.now - noted >= DRIFT_NOTED_EVERY):
        noted = a.now
    if noted is not None and not timedelta(0) <= a.now - noted < DRIFT_HELD:
        noted = None
    if drift is not None:
        verdicts["DriftDetected"] = yes(drift.reason, drift.message)
    elif noted is not None:
        before = a.previous.condition("DriftDetected")
        held = before is not None and before.status == "True"
        verdicts["DriftDetected"] = yes(
            "Overwritten", before.message if before is not None and held else "the minimum was overwritten"
        )
    else:
        verdicts["DriftDetected"] = no("None", "the minimum is nobody else's")
    return noted


def _next(declared: Declared, zone: tzinfo) -> str | None:
    if not declared.plan.transitions:
        return None
    at, (replicas, phase, _, _) = declared.plan.transitions[0]
    return f"{phase} {replicas} at {at.astimezone(zone):%Y-%m-%d %H:%M %Z}"
