"""What became of each window and peak: raised when, Ready when, early or late, and what that says about the lead time.

Measured once and kept. What nobody saw is not claimed: of a window that was open before anybody looked, the pods at its
start are unknown.
"""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from prescaler.plan.planner import Opening, Plan
from prescaler.window.status import ReadyTime, Run
from prescaler.window.verdict import Verdict, no, unknown, yes

WINDOWS_KEPT = 6
RUNS_KEPT = 24
SEEN_LATE = timedelta(seconds=60)  # a start that was looked at later than this wasn't seen
LEAD_FACTOR = 2
LEAD_TO_WARN_S = (
    300  # half of it must hold a look (10 s), a scrape (30 s), the alert's own minute and its evaluation (30 s)
)


class Look(msgspec.Struct, frozen=True):
    """What one look found out, once its writes were done."""

    now: datetime
    applied: int | None
    raised: bool  # by this look
    ready: int | None
    replicas: int | None
    wants: Callable[[Opening], int]  # how many pods each is to get
    warning: str | None
    first: bool  # nobody has looked at this object before


def runs(previous: Sequence[Run], plan: Plan, lead: timedelta, look: Look) -> tuple[Run, ...]:
    """The history with the openings that are being prepared for or are open brought up to date, newest first."""
    known = {run.identity: run for run in previous}
    current = [o for o in plan.openings if o.start - lead <= look.now]
    following = min((o.start for o in current if o.start > look.now), default=None)
    for opening in current:
        kind = "Peak" if opening.peak else "Window"
        want = look.wants(opening)
        run = known.get((opening.window, kind, opening.start))
        if run is None:
            run = Run(opening.window, kind, opening.start, opening.end, want)
        warned = look.warning if opening.start <= look.now or opening.start == following else None
        known[run.identity] = _brought_up_to_date(run, opening, want, look, warned)
    planned = {(o.window, "Peak" if o.peak else "Window", o.start) for o in plan.openings}
    kept = [run for run in known.values() if run.planned_start <= look.now or run.identity in planned]
    ordered = sorted(kept, key=lambda r: (r.planned_start, r.kind, r.window), reverse=True)
    windows = [r for r in ordered if r.kind == "Window"][:WINDOWS_KEPT]
    peaks = [r for r in ordered if r.kind == "Peak"][: RUNS_KEPT - WINDOWS_KEPT]
    return tuple(r for r in ordered if r in windows or r in peaks)


def ready_time(history: Sequence[Run]) -> ReadyTime | None:
    """Over the raises for which pods had to start."""
    spans = sorted(
        (run.ready_at - run.raised_at).total_seconds()
        for run in history
        if run.raised_at is not None and run.ready_at is not None and (run.ready_at_raise or 0) < run.min_replicas
    )
    if not spans:
        return None
    return ReadyTime(len(spans), _rank(spans, 0.5), _rank(spans, 0.99))


def lead_time(measured: ReadyTime | None, lead_s: int) -> Verdict:
    if lead_s < LEAD_TO_WARN_S:
        late = f"with a lead time of {lead_s} s a warning comes too late"
        return no("NoTimeToWarn", f"{late}: make it at least {LEAD_TO_WARN_S} s")
    if measured is None:
        return unknown("NotMeasured", "no raise has been followed to the last pod Ready yet")
    words = f"pods were Ready {measured.p99_seconds} s after a raise (p99 of {measured.samples}); the lead time is {lead_s} s"
    if lead_s >= LEAD_FACTOR * measured.p99_seconds:
        return yes("LeadTimeSufficient", words)
    return no("LeadTimeShort", f"{words}: make it at least {LEAD_FACTOR * measured.p99_seconds} s")


def _brought_up_to_date(run: Run, opening: Opening, want: int, look: Look, warned: str | None) -> Run:
    changes: dict[str, object] = {"planned_end": opening.end}
    enough = look.ready is not None and look.ready >= want
    if run.raised_at is None and look.raised and look.applied is not None and look.applied >= want:
        changes |= {"raised_at": look.now, "ready_at_raise": look.ready}
    if run.ready_at is None and enough:
        changes["ready_at"] = look.now
    if look.now >= opening.start:
        changes["peak_replicas"] = max(look.replicas or 0, run.peak_replicas or 0)
        if run.actual_start is None:
            seen = not look.first and look.now - opening.start <= SEEN_LATE and look.ready is not None
            changes |= {"actual_start": look.now, "ready_at_start": f"{look.ready} of {want}" if seen else "unknown"}
    else:
        changes["min_replicas"] = want
    if warned is not None and run.warned_at is None and run.ready_at is None:
        changes |= {"warned_at": look.now, "warning": warned}
    updated = msgspec.structs.replace(run, **changes)
    missed = updated.ready_at_start == "unknown"  # how late it was isn't known where the start wasn't seen
    if updated.ready_at is not None and updated.seconds_early is None and not missed:
        early = opening.start - updated.ready_at
        return msgspec.structs.replace(updated, seconds_early=round(early.total_seconds()))
    return updated


def _rank(spans: Sequence[float], share: float) -> int:
    """The nearest rank: a value that was measured."""
    return math.ceil(spans[max(0, math.ceil(share * len(spans)) - 1)])
