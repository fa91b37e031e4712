"""The plan: which minimum a schedule asks for at any instant, and when that changes next.

A pure function of the schedule and the time. There is no "last run": an operator that was down for a week and one that
never stopped compute the same answer, which is what makes every outage heal in one tick.

Occurrences of windows become demands, demands become steps (the ramps around them), and the highest step at an instant
wins. All intervals are half-open. Knows nothing of Kubernetes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from heapq import heappop, heappush
from typing import NamedTuple

from prescaler.plan.localtime import DAY_S, utc
from prescaler.plan.occurrences import Demand, Work, occurrences, united
from prescaler.plan.schedule import Schedule

HORIZON_D = 63  # the next change of a monthly schedule is at most a month and a month end away
TRANSITIONS_MAX = 8  # what a plan keeps of the future: a status shows five, and a thousand plans are in memory
PEAKS_MAX = 8  # likewise, of the coming peaks; windows are all kept


class Phase(StrEnum):
    """What the plan is doing, in the order in which it wins when two demands ask for the same."""

    IDLE = "Idle"
    RAMP_DOWN = "RampDown"
    RAMP_UP = "RampUp"
    PRE_SCALED = "PreScaled"
    ACTIVE = "Active"
    PEAK = "Peak"


_RANK = {phase: rank for rank, phase in enumerate(Phase)}
_PHASES = tuple(Phase)
OPEN = (Phase.ACTIVE, Phase.PEAK)


class State(NamedTuple):
    replicas: int
    phase: Phase
    window: str | None
    others: tuple[str, ...] = ()  # windows that ask for something too and are outbid, or matched


class Transition(NamedTuple):
    at: datetime
    state: State


class Opening(NamedTuple):
    """A time for whose start pods are to be Ready: a window, open in any of its zones, or a daily peak in it."""

    window: str
    start: datetime
    end: datetime
    replicas: int
    peak: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Holds from `made_at` until the first of its transitions (or `until`); see `holds_at`."""

    now: State
    transitions: tuple[Transition, ...]  # after now, nearest first
    openings: tuple[Opening, ...]  # windows and peaks that are not over yet, nearest first
    deadlines: tuple[Opening, ...]  # demands that are open or begin soon, overridden days included
    idle_at: datetime  # when the baseline holds again (`until` if that isn't known)
    made_at: datetime
    until: datetime

    @property
    def open_now(self) -> Opening | None:
        """The window that the present minimum belongs to, when one is open."""
        mine = (o for o in self.openings if o.window == self.now.window and not o.peak)
        return next(mine, None) if self.now.phase in OPEN else None

    def next_window(self, now: datetime) -> Opening | None:
        return next((o for o in self.openings if o.start > now and not o.peak), None)

    @property
    def changes_at(self) -> datetime:
        return self.transitions[0].at if self.transitions else self.until

    def holds_at(self, now: datetime) -> bool:
        return self.made_at <= now < self.changes_at


def plan(schedule: Schedule, now: datetime) -> Plan:
    at = int(now.timestamp())
    until = at + HORIZON_D * DAY_S
    whole = list(occurrences(schedule, at, until))
    found = [demand for occurrence in whole for demand in occurrence]
    state, changes = _sweep(schedule, found, at, until)
    soon = (int(changes[0].at.timestamp()) if changes else at) + schedule.lead_s + schedule.before_s
    coming = [o for occurrence in whole for o in _openings(occurrence) if o.end.timestamp() > at]
    peaks = sorted(o for o in coming if o.peak)[:PEAKS_MAX]
    return Plan(
        now=state,
        transitions=changes[:TRANSITIONS_MAX],
        openings=_in_order([*(o for o in coming if not o.peak), *peaks]),
        deadlines=_in_order(_opening(d) for d in found if d.start <= soon and at < d.end),
        idle_at=next((t.at for t in changes if t.state.phase is Phase.IDLE), utc(until)),
        made_at=utc(at),
        until=utc(until),
    )


def transitions(schedule: Schedule, since: datetime, until: datetime) -> list[Transition]:
    """Every change of the minimum or the phase in [since, until)."""
    first, last = int(since.timestamp()), int(until.timestamp())
    return list(_sweep(schedule, _demands(schedule, first - 1, last), first - 1, last)[1])


def state_at(schedule: Schedule, at: datetime) -> State:
    first = int(at.timestamp())
    return _sweep(schedule, _demands(schedule, first, first + 1), first, first + 1)[0]


def openings(schedule: Schedule, since: datetime, until: datetime) -> tuple[Opening, ...]:
    """The windows that are open at some time in [since, until), whole, whatever their peaks ask for in between."""
    whole = occurrences(schedule, int(since.timestamp()), int(until.timestamp()))
    found = (o for occurrence in whole for o in _openings(occurrence) if not o.peak)
    return _in_order(o for o in found if o.end > since and o.start < until)


def _demands(schedule: Schedule, since: int, until: int) -> list[Demand]:
    return [demand for occurrence in occurrences(schedule, since, until) for demand in occurrence]


def _openings(occurrence: list[Demand]) -> Iterator[Opening]:
    """One for each stretch for which the window is open, with what is asked for at its start; one for each peak."""
    plain = [d for d in occurrence if not d.peak]
    for stretch in united(d._replace(replicas=0) for d in plain):
        asked = max(d.replicas for d in plain if d.start == stretch.start)
        yield _opening(stretch._replace(replicas=asked))
    yield from (_opening(d) for d in occurrence if d.peak)


def _opening(demand: Demand) -> Opening:
    return Opening(demand.window, utc(demand.start), utc(demand.end), demand.replicas, demand.peak)


def _in_order(found: Iterable[Opening]) -> tuple[Opening, ...]:
    return tuple(sorted(found, key=lambda o: (o.start, -o.replicas)))


class _Step(NamedTuple):
    """A demand's part in the plan for some time; of two that ask for the same, the later phase names it."""

    start: int
    end: int
    replicas: int
    rank: int
    order: int  # the window's place in the spec, negative: the first one listed wins a tie
    window: str


def _steps(schedule: Schedule, demand: Demand) -> Iterator[_Step]:
    """The stairs up to a demand, its open time, and the stairs down."""
    base, rise = schedule.baseline, demand.replicas - schedule.baseline
    up, down, lead_s = schedule.ramp_up, schedule.ramp_down, schedule.lead_s

    def step(start: int, end: int, replicas: int, phase: Phase) -> _Step:
        return _Step(start, end, replicas, _RANK[phase], -demand.order, demand.window)

    # a fraction of a second is rounded to the safe side: up early, down late
    due = [demand.start - lead_s - _ceil((up.steps - i) * up.duration_s, up.steps) for i in range(1, up.steps + 1)]
    for i in range(1, up.steps):
        yield step(due[i - 1], due[i], base + _ceil(rise * i, up.steps), Phase.RAMP_UP)
    yield step(demand.start - lead_s, demand.start, demand.replicas, Phase.PRE_SCALED)
    yield step(demand.start, demand.end, demand.replicas, Phase.PEAK if demand.peak else Phase.ACTIVE)
    left = [demand.end + _ceil(i * down.duration_s, down.steps) for i in range(down.steps)]
    for i in range(1, down.steps):
        yield step(left[i - 1], left[i], base + _ceil(rise * (down.steps - i), down.steps), Phase.RAMP_DOWN)


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _sweep(schedule: Schedule, found: list[Demand], since: int, until: int) -> tuple[State, tuple[Transition, ...]]:
    """The state at `since` and every change of it in (since, until)."""
    Work(since, until).add(len(found) * (schedule.ramp_up.steps + schedule.ramp_down.steps))
    steps = sorted(s for d in found for s in _steps(schedule, d) if max(s.start, since) < min(s.end, until))
    edges = sorted({since, *(s.start for s in steps if s.start > since), *(s.end for s in steps if s.end < until)})
    active = _Active(schedule.baseline)
    states: list[Transition] = []
    following = 0
    for at in edges:
        while following < len(steps) and steps[following].start <= at:
            active.add(steps[following])
            following += 1
        now = active.at(at)
        if not states or now[:3] != states[-1].state[:3]:
            states.append(Transition(utc(at), now))
    return states[0].state, tuple(states[1:])


class _Active:
    """The steps of the present. What is over leaves a heap when it comes to its top, so that each costs its share once."""

    def __init__(self, baseline: int) -> None:
        self._baseline = baseline
        self._highest: list[tuple[int, int, int, _Step]] = []
        self._opened: list[tuple[int, int, int, _Step]] = []
        self._ends: list[tuple[int, _Step]] = []
        self._names: dict[int, str] = {}
        self._windows: Counter[int] = Counter()
        self._peaks = 0

    def add(self, step: _Step) -> None:
        entry = (-step.replicas, -step.rank, -step.order, step)
        heappush(self._highest, entry)
        if step.rank >= _RANK[Phase.ACTIVE]:
            heappush(self._opened, entry)
        heappush(self._ends, (step.end, step))
        self._names[step.order] = step.window
        self._windows[step.order] += 1
        self._peaks += step.rank == _RANK[Phase.PEAK]

    def at(self, at: int) -> State:
        """The highest demand sets the minimum; the phase is whether a window is open, or else what the highest one does."""
        while self._ends and self._ends[0][0] <= at:
            _, over = heappop(self._ends)
            self._peaks -= over.rank == _RANK[Phase.PEAK]
            self._windows[over.order] -= 1
            if not self._windows[over.order]:
                del self._windows[over.order]
        for heap in (self._highest, self._opened):
            while heap and heap[0][-1].end <= at:
                heappop(heap)
        idle = State(self._baseline, Phase.IDLE, None)
        if not self._highest:
            return idle
        leading = (self._opened or self._highest)[0][-1]
        if not self._opened and leading.replicas <= self._baseline:  # stairs to a target that isn't above the baseline
            return idle
        phase = Phase.PEAK if self._peaks else _PHASES[leading.rank]
        others = sorted(self._windows.keys() - {leading.order}, reverse=True) if len(self._windows) > 1 else ()
        replicas = max(self._baseline, self._highest[0][-1].replicas)
        return State(replicas, phase, leading.window, tuple(self._names[order] for order in others))
