"""Everything that can be said about a BillingWindow, in one table: condition, what is bad about it, event, alert.

A status says nothing that changes by itself (no "in 20 minutes"): it is written only when something has happened, and
the events are the difference between the old one and the new one. Metrics and alerts speak of objects that act: what a
Preview, a suspended or a conflicted object finds out is in its status and wakes nobody.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from prescaler.plan.planner import Phase
from prescaler.window.status import Condition, Run, Status

MESSAGE_MAX = 1000  # an API server's refusal may quote a whole webhook; its limit on an event is 1024


class Rule(NamedTuple):
    bad: str | None  # the status that people should hear about
    alert: str | None  # the alert on it; its runbook is docs/runbooks/<alert>.md
    meaning: str
    event: str | None = None  # the reason of the event; otherwise the condition's own


VERDICTS: dict[str, Rule] = {
    "Ready": Rule("False", "BillingWindowNotApplied", "The plan is carried out, or why not."),
    "WindowActive": Rule(None, None, "A window is open now."),
    "PreScaled": Rule(None, None, "The pods that the plan asks for are Ready."),
    "CapacitySufficient": Rule(
        "False", "BillingWindowWontBeReady", "The pods of the coming windows and peaks will be Ready in time.", "WontBeReady"
    ),
    "WithinMaximum": Rule(
        "False", "BillingWindowBeyondMaximum", "The target's maximum allows all that the schedule ever asks for."
    ),
    "LeadTimeSufficient": Rule(
        "False", "BillingWindowLeadTimeShort", "The lead time is twice the p99 of the time from raise to Ready, and 5 minutes."
    ),
    "DriftDetected": Rule("True", "BillingWindowDrift", "Somebody else sets the minimum; held for 30 minutes."),
    "Conflicted": Rule("True", None, "An older BillingWindow has this target."),
    "ExceptionsCurrent": Rule(
        "False", "BillingWindowExceptionsRanOut", "The exceptions can be read, change something and reach far enough."
    ),
    "ReplayAvailable": Rule("False", None, "Last month's load could be read."),
    "Rehearsal": Rule("True", "PrescalerRehearsalClock", "The operator runs on a rehearsal clock."),
}  # fmt: skip


class Fact(NamedTuple):
    """Why something is so: a word for programs and a sentence for people."""

    reason: str
    message: str


class Verdict(NamedTuple):
    status: str  # True, False, Unknown
    reason: str
    message: str


Verdicts = dict[str, Verdict]


class Notice(NamedTuple):
    """An event: Normal or Warning."""

    type: str
    reason: str
    message: str


def yes(reason: str, message: str) -> Verdict:
    return Verdict("True", reason, message)


def no(reason: str, message: str) -> Verdict:
    return Verdict("False", reason, message)


def unknown(reason: str, message: str) -> Verdict:
    return Verdict("Unknown", reason, message)


def conditions(
    previous: Status, verdicts: Mapping[str, Verdict], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """In the table's order; one whose status is as before keeps its time."""
    made = []
    for kind in VERDICTS:
        if kind in verdicts:
            status, reason, message = verdicts[kind]
            was = previous.condition(kind)
            since = was.last_transition_time if was is not None and was.status == status else now
            made.append(Condition(kind, status, generation, since, reason, message[:MESSAGE_MAX]))
    return tuple(made)


def notices(previous: Status, new: Status) -> Iterator[Notice]:
    """What the difference is worth telling, in plain words."""
    planned = (new.phase, new.min_replicas)
    known = previous.observed_generation > 0
    if (
        planned != (previous.phase, previous.min_replicas)
        and new.phase != "Invalid"
        and (known or new.phase != Phase.IDLE)
    ):
        yield _phase_notice(previous, new)
    for condition in new.conditions:
        rule, was = VERDICTS[condition.type], previous.condition(condition.type)
        if was is not None and (was.status, was.reason) == (condition.status, condition.reason):
            continue
        if condition.status == rule.bad:
            yield Notice("Warning", rule.event or condition.reason, condition.message)
        elif was is not None and rule.bad is not None and was.status == rule.bad:
            over = "Again" if rule.bad == "False" else "Over"
            yield Notice("Normal", f"{condition.type}{over}", condition.message)
        elif condition.type == "PreScaled" and condition.status == "True":
            yield Notice("Normal", "PodsReady", condition.message)
    before = {run.identity: run for run in previous.history}
    for run in new.history:
        was_run = before.get(run.identity)
        if run.ready_at_start is not None and (was_run is None or was_run.ready_at_start is None) and _late(run):
            what = f"the peak of {run.window}" if run.kind == "Peak" else run.window
            yield Notice("Warning", "NotReadyAtStart", f"{what} opens with {run.ready_at_start} Ready")


def _late(run: Run) -> bool:
    return run.actual_start is not None and run.ready_at is None and run.ready_at_start != "unknown"


def _phase_notice(previous: Status, new: Status) -> Notice:
    was, now = previous.min_replicas, new.min_replicas
    change = f"minimum {was} → {now}" if was not in {None, now} else f"minimum {now}"
    active = new.condition("WindowActive")
    return Notice("Normal", str(new.phase), f"{change}: {active.message if active else ''}")
