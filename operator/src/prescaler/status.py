"""What people see: the status of a BillingWindow, and the events that its changes are worth.

A status says nothing that changes by itself (no "in 20 minutes"): it is written only when something has happened, and
the events are the difference between the old one and the new one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from prescaler.plan import OPEN, Phase, Plan, Transition
from prescaler.replay import timestamp

HISTORY_MAX = 6
TRANSITIONS_SHOWN = 5

# Conditions and the value that somebody should hear about.
BAD = {
    "Ready": "False",
    "CapacitySufficient": "False",
    "DriftDetected": "True",
    "Conflicted": "True",
    "ExceptionsCurrent": "False",
    "ReplayAvailable": "False",
    "Rehearsal": "True",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """An event: Normal or Warning."""

    type: str
    reason: str
    message: str


@dataclass(slots=True)
class Report:
    """What one look at one object found out."""

    generation: int
    now: datetime
    fields: dict[str, Any] = field(default_factory=dict)
    verdicts: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def judge(self, condition: str, *, holds: bool | None, reason: str, message: str) -> None:
        status = "Unknown" if holds is None else str(holds)
        self.verdicts[condition] = (status, reason, message)

    def status(self, previous: dict[str, Any]) -> dict[str, Any]:
        before = {c["type"]: c for c in previous.get("conditions", ())}
        conditions = []
        for kind, (status, reason, message) in self.verdicts.items():
            was = before.get(kind)
            since = was["lastTransitionTime"] if was and was["status"] == status else timestamp(self.now)
            conditions.append(
                {
                    "type": kind,
                    "status": status,
                    "observedGeneration": self.generation,
                    "lastTransitionTime": since,
                    "reason": reason,
                    "message": message,
                }
            )
        known = {name: value for name, value in self.fields.items() if value is not None}
        return {"observedGeneration": self.generation, **known, "conditions": conditions}


def difference(previous: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The merge patch between them; what is gone is null."""
    gone: dict[str, Any] = {name: None for name in previous if name not in new}
    return gone | {name: value for name, value in new.items() if previous.get(name) != value}


def plan_fields(plan: Plan, zone: tzinfo) -> dict[str, Any]:
    following = plan.transitions[0] if plan.transitions else None
    words = f"{following.state.phase} {following.state.replicas}" if following else ""
    return {
        "phase": plan.now.phase.value,
        "window": plan.now.window,
        "minReplicas": plan.now.replicas,
        "next": f"{words} at {following.at.astimezone(zone):%Y-%m-%d %H:%M %Z}" if following else None,
        "transitions": [
            {name: value for name, value in transition_fields(t).items() if value is not None}  # the API drops nulls
            for t in plan.transitions[:TRANSITIONS_SHOWN]
        ],
    }


def transition_fields(transition: Transition) -> dict[str, Any]:
    """As `status.transitions` and `prescaler plan --format json` have it."""
    replicas, phase, window, _ = transition.state
    return {"at": timestamp(transition.at), "minReplicas": replicas, "phase": phase.value, "window": window}


def judge_window(report: Report, plan: Plan, zone: tzinfo) -> None:
    opened = plan.open_now
    if opened is not None:
        words = f"{opened.window} is open until {wall(opened.end, zone)}"
        report.judge("WindowActive", holds=True, reason=plan.now.phase.value, message=words)
        return
    following = next((o for o in plan.openings if o.start > report.now), None)
    words = f"{following.window} opens {wall(following.start, zone)}" if following else "no window opens in two months"
    report.judge("WindowActive", holds=False, reason=plan.now.phase.value, message=words)


def judge_pods(report: Report, plan: Plan, ready: int | None) -> None:
    """PreScaled: are the pods that the plan asks for Ready."""
    if plan.now.phase in {Phase.IDLE, Phase.RAMP_DOWN}:
        report.judge("PreScaled", holds=False, reason="NotNeeded", message="no window is open or about to open")
    elif ready is None:
        report.judge("PreScaled", holds=None, reason="UnknownTarget", message="the HPA's target tells no Ready pods")
    else:
        holds = ready >= plan.now.replicas
        words = f"{min(ready, plan.now.replicas) if holds else ready} of {plan.now.replicas} Ready"
        report.judge("PreScaled", holds=holds, reason="PodsReady" if holds else "PodsNotReady", message=words)


def history(previous: list[dict[str, Any]], plan: Plan, now: datetime, ready: int | None, replicas: int) -> list[Any]:
    """The last windows, newest first. What was measured is kept; the rest of an entry follows the plan."""
    opened = plan.open_now
    if opened is None:
        return previous
    identity = {"window": opened.window, "plannedStart": timestamp(opened.start)}
    known = next((e for e in previous if identity.items() <= e.items()), None)
    if known is None:
        entry = {
            **identity,
            "plannedEnd": timestamp(opened.end),
            "actualStart": timestamp(now),
            "minReplicas": plan.now.replicas,
            "readyAtStart": f"{'unknown' if ready is None else ready} of {plan.now.replicas}",
            "peakReplicas": replicas,
        }
        return [entry, *previous][:HISTORY_MAX]
    updated = {
        **known,
        "plannedEnd": timestamp(opened.end),
        "peakReplicas": max(replicas, known.get("peakReplicas", 0)),
    }
    return [updated if e is known else e for e in previous]


def notices(previous: dict[str, Any], new: dict[str, Any]) -> Iterator[Notice]:
    """What the difference is worth telling, in plain words."""
    conditions = {c["type"]: c for c in new["conditions"]}
    before = {c["type"]: c for c in previous.get("conditions", ())}
    planned, was_planned = ((s.get("phase"), s.get("minReplicas")) for s in (new, previous))
    if planned != was_planned and planned[0] != "Invalid" and (previous or planned[0] != Phase.IDLE):
        yield _phase_notice(previous, new, conditions)
    for kind, condition in conditions.items():
        was = before.get(kind, {})
        if (was.get("status"), was.get("reason")) == (condition["status"], condition["reason"]):
            continue
        bad = BAD.get(kind)
        if bad == condition["status"]:
            reason = "WontBeReady" if kind == "CapacitySufficient" else condition["reason"]
            yield Notice("Warning", reason, condition["message"])
        elif bad is not None and bad == was.get("status"):
            yield Notice("Normal", f"{kind}Again" if bad == "False" else f"{kind}Over", condition["message"])
        elif kind == "PreScaled" and condition["status"] == "True":
            yield Notice("Normal", "PodsReady", condition["message"])
    if new.get("phase") in OPEN and previous.get("phase") not in OPEN and conditions["PreScaled"]["status"] == "False":
        yield Notice("Warning", "NotReadyAtStart", f"the window opens with {conditions['PreScaled']['message']}")


def _phase_notice(previous: dict[str, Any], new: dict[str, Any], conditions: dict[str, Any]) -> Notice:
    was, now = previous.get("minReplicas"), new["minReplicas"]
    change = f"minimum {was} → {now}" if was not in {None, now} else f"minimum {now}"
    return Notice("Normal", new["phase"], f"{change}: {conditions['WindowActive']['message']}")


def wall(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%d %b %H:%M} ({zone})"
