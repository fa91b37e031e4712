"""The plan: which minimum a schedule asks for at any instant, and when that changes next.

A pure function of the schedule and the time. There is no "last run": an operator that was down for a week and one that
never stopped compute the same answer, which is what makes every outage heal in one tick.

A schedule is turned into demands (one open interval of a window, or of a daily peak in it, in one zone), demands into
steps (the ramps around it), and the highest step at an instant wins. All intervals are half-open. Knows nothing of
Kubernetes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from prescaler.localtime import DAY_S, day_of_month, instant, local_date, months, utc

HORIZON_D = 63  # the next change of a monthly schedule is at most a month and a month end away
HINDSIGHT_D = 62  # an opening that exemptions cut into pieces is told whole, even in its last piece
TRANSITIONS_MAX = 8  # what a plan keeps of the future: a status shows five, and a thousand plans are in memory


class Phase(StrEnum):
    """What the plan is doing, in the order in which it wins when two demands ask for the same."""

    IDLE = "Idle"
    RAMP_DOWN = "RampDown"
    RAMP_UP = "RampUp"
    PRE_SCALED = "PreScaled"
    ACTIVE = "Active"
    PEAK = "Peak"


_RANK = {phase: rank for rank, phase in enumerate(Phase)}
OPEN = (Phase.ACTIVE, Phase.PEAK)


class Action(StrEnum):
    SKIP = "Skip"
    EXTEND = "Extend"
    OVERRIDE = "Override"


@dataclass(frozen=True, slots=True)
class Ramp:
    duration_s: int = 0
    steps: int = 1


@dataclass(frozen=True, slots=True)
class Peak:
    start_s: int  # seconds of the local day; an end that isn't later is on the next day
    end_s: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Window:
    name: str
    from_day: int
    to_day: int
    replicas: int
    start_s: int = 0
    end_s: int = DAY_S
    peaks: tuple[Peak, ...] = ()


@dataclass(frozen=True, slots=True)
class Exemption:
    """What a calendar day does differently (`exceptions` in the resource)."""

    day: date
    action: Action
    until: date | None = None
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    baseline: int
    zones: tuple[ZoneInfo, ...]
    windows: tuple[Window, ...]
    lead_s: int = 0
    ramp_up: Ramp = Ramp()
    ramp_down: Ramp = Ramp()
    exemptions: tuple[Exemption, ...] = ()

    @property
    def highest(self) -> int:
        """The most that any window, peak or exemption ever asks for."""
        asked = [
            replicas for window in self.windows for replicas in (window.replicas, *(p.replicas for p in window.peaks))
        ]
        return max([self.baseline, *asked, *(e.replicas for e in self.exemptions if e.replicas is not None)])


class State(NamedTuple):
    replicas: int
    phase: Phase
    window: str | None
    others: tuple[str, ...] = ()  # windows that ask for something too and are outbid, or matched


class Transition(NamedTuple):
    at: datetime
    state: State


class Demand(NamedTuple):
    """One open interval [start, end) and what it asks for."""

    window: int
    start: int
    end: int
    replicas: int
    peak: bool = False


class Opening(NamedTuple):
    """The time a window is open in any of its zones."""

    window: str
    start: datetime
    end: datetime
    replicas: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Holds from `made_at` until the first of its transitions (or `until`); see `holds_at`."""

    now: State
    transitions: tuple[Transition, ...]  # after now, nearest first
    openings: tuple[Opening, ...]  # not over yet, nearest first
    deadlines: tuple[Opening, ...]  # demands that begin soon after now: their pods are to be Ready by then
    made_at: datetime
    until: datetime

    @property
    def open_now(self) -> Opening | None:
        """The opening that the present minimum belongs to, when one is open."""
        return next((o for o in self.openings if o.window == self.now.window), None) if self.now.phase in OPEN else None

    @property
    def changes_at(self) -> datetime:
        return self.transitions[0].at if self.transitions else self.until

    def holds_at(self, now: datetime) -> bool:
        return self.made_at <= now < self.changes_at


def plan(schedule: Schedule, now: datetime) -> Plan:
    at = int(now.timestamp())
    until = at + HORIZON_D * DAY_S
    found = demands(schedule, at - (HINDSIGHT_D * DAY_S if schedule.exemptions else 0), until)
    state, changes = _sweep(schedule, found, at, until)
    soon = int(changes[0].at.timestamp() if changes else at) + 2 * schedule.lead_s + schedule.ramp_up.duration_s
    return Plan(
        now=state,
        transitions=changes[:TRANSITIONS_MAX],
        openings=tuple(o for o in openings(schedule, found) if o.end.timestamp() > at),
        deadlines=tuple(
            Opening(schedule.windows[d.window].name, utc(d.start), utc(d.end), d.replicas)
            for d in sorted(found, key=lambda d: (d.start, -d.replicas))
            if at < d.start <= soon
        ),
        made_at=utc(at),
        until=utc(until - DAY_S),
    )


def transitions(schedule: Schedule, since: datetime, until: datetime) -> list[Transition]:
    """Every change of the minimum or the phase in [since, until)."""
    first, last = int(since.timestamp()), int(until.timestamp())
    _, changes = _sweep(schedule, demands(schedule, first - 1, last), first - 1, last)
    return list(changes)


def state_at(schedule: Schedule, at: datetime) -> State:
    first = int(at.timestamp())
    return _sweep(schedule, demands(schedule, first, first + 1), first, first + 1)[0]


def openings(schedule: Schedule, found: list[Demand]) -> list[Opening]:
    """When each window is open in any of its zones, whatever its peaks and exemptions ask for in between."""
    merged = _united(Demand(d.window, d.start, d.end, schedule.windows[d.window].replicas) for d in found)
    return [
        Opening(schedule.windows[d.window].name, utc(d.start), utc(d.end), d.replicas)
        for d in sorted(merged, key=lambda d: (d.start, -d.replicas))
    ]


def _united(found: Iterable[Demand]) -> list[Demand]:
    """Like demands that touch or overlap are one: the stairs around their union are the maximum of their stairs."""
    groups: dict[tuple[int, bool, int], list[tuple[int, int]]] = defaultdict(list)
    for window, start, end, replicas, peak in found:
        groups[window, peak, replicas].append((start, end))
    merged: list[Demand] = []
    for (window, peak, replicas), intervals in groups.items():
        intervals.sort()
        start, end = intervals[0]
        for following, its_end in intervals:
            if following > end:
                merged.append(Demand(window, start, end, replicas, peak))
                start, end = following, its_end
            end = max(end, its_end)
        merged.append(Demand(window, start, end, replicas, peak))
    return merged


def demands(schedule: Schedule, since: int, until: int) -> list[Demand]:
    """Every demand whose steps touch [since, until), united over the zones."""
    before_s, after_s = schedule.lead_s + schedule.ramp_up.duration_s, schedule.ramp_down.duration_s
    found: list[Demand] = []
    for zone in schedule.zones:
        first, last = local_date(since - after_s, zone), local_date(until + before_s, zone)
        eve = first - timedelta(days=1)
        extended_from = (e.day for e in schedule.exemptions if e.until is not None and e.until >= eve)
        first = min([first, *extended_from]) - timedelta(days=32)  # a window may have begun in the month before
        for month in months(first, last):
            for index in range(len(schedule.windows)):
                found += [
                    demand
                    for demand in _occurrence(schedule, index, month, zone)
                    if demand.start - before_s < until and demand.end + after_s >= since
                ]
    return _united(found)


def _occurrence(schedule: Schedule, index: int, month: tuple[int, int], zone: ZoneInfo) -> Iterator[Demand]:
    """The demands of one window in the month in which it begins, in one zone."""
    window = schedule.windows[index]
    first_day, last_day = _days(window, month)
    for exemption in schedule.exemptions:  # sorted by day, so an extension can be extended
        if exemption.until is not None and first_day <= exemption.day <= last_day:
            last_day = max(last_day, exemption.until)  # the name says Extend: it never shortens
    start = instant(first_day, window.start_s, zone, is_end=False)
    end = instant(last_day, window.end_s, zone, is_end=True)
    plain = [(start, end)] if start < end else []
    for exemption in schedule.exemptions:
        if exemption.action is Action.EXTEND or not first_day <= exemption.day <= last_day:
            continue
        from_s = instant(exemption.day, 0, zone, is_end=False)
        to_s = instant(exemption.day + timedelta(days=1), 0, zone, is_end=False)
        if exemption.replicas is not None and max(start, from_s) < min(end, to_s):
            yield Demand(index, max(start, from_s), min(end, to_s), exemption.replicas)
        plain = [cut for a, b in plain for cut in ((a, min(b, from_s)), (max(a, to_s), b)) if cut[0] < cut[1]]
    for segment_start, segment_end in plain:
        yield Demand(index, segment_start, segment_end, window.replicas)
        yield from _peaks(index, window, segment_start, segment_end, zone)


def _days(window: Window, month: tuple[int, int]) -> tuple[date, date]:
    """The first and the last day of the window that begins in `month`; toDay before fromDay is in the month after."""
    ends_in = month if window.from_day <= window.to_day else (month[0] + month[1] // 12, month[1] % 12 + 1)
    return day_of_month(*month, window.from_day), day_of_month(*ends_in, window.to_day)


def _peaks(index: int, window: Window, start: int, end: int, zone: ZoneInfo) -> Iterator[Demand]:
    if not window.peaks:
        return
    day, last_day = (
        local_date(start, zone) - timedelta(days=1),
        local_date(end, zone),
    )  # a night's peak began the day before
    while day <= last_day:
        for peak in window.peaks:
            overnight_s = DAY_S if peak.end_s <= peak.start_s else 0
            from_s = max(start, instant(day, peak.start_s, zone, is_end=False))
            to_s = min(end, instant(day, peak.end_s + overnight_s, zone, is_end=True))
            if from_s < to_s:
                yield Demand(index, from_s, to_s, peak.replicas, peak=True)
        day += timedelta(days=1)


class _Step(NamedTuple):
    """A demand's part in the plan for some time; of two that ask for the same, the later phase names it."""

    replicas: int
    rank: int
    order: int  # the window's place in the spec, negative: the first one listed wins a tie


_PHASES = tuple(Phase)


class _Stairs(NamedTuple):
    """The steps around a demand, as seconds from its start and from its end."""

    up: tuple[tuple[int, int, _Step], ...]  # the lead time is the last step up
    open: _Step
    down: tuple[tuple[int, int, _Step], ...]


def _stairs(schedule: Schedule, demand: Demand) -> _Stairs:
    base, rise = schedule.baseline, demand.replicas - schedule.baseline
    up, down, lead_s = schedule.ramp_up, schedule.ramp_down, schedule.lead_s

    def step(replicas: int, phase: Phase) -> _Step:
        return _Step(replicas, _RANK[phase], -demand.window)

    # a fraction of a second is rounded to the safe side: up early, down late
    due = [-lead_s - _ceil((up.steps - i) * up.duration_s, up.steps) for i in range(1, up.steps + 1)]
    left = [_ceil(i * down.duration_s, down.steps) for i in range(down.steps)]
    rungs = [step(base + _ceil(rise * i, up.steps), Phase.RAMP_UP) for i in range(1, up.steps)]
    rungs_down = [
        step(base + _ceil(rise * (down.steps - i), down.steps), Phase.RAMP_DOWN) for i in range(1, down.steps)
    ]
    return _Stairs(
        up=(*zip(due, due[1:], rungs, strict=False), (-lead_s, 0, step(demand.replicas, Phase.PRE_SCALED))),
        open=step(demand.replicas, Phase.PEAK if demand.peak else Phase.ACTIVE),
        down=tuple(zip(left, left[1:], rungs_down, strict=False)),
    )


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _steps(schedule: Schedule, found: list[Demand]) -> Iterator[tuple[int, int, _Step]]:
    stairs: dict[tuple[int, int, bool], _Stairs] = {}
    for demand in found:
        key = (demand.window, demand.replicas, demand.peak)
        if key not in stairs:
            stairs[key] = _stairs(schedule, demand)
        up, opened, down = stairs[key]
        for begins, ends, step in up:
            yield demand.start + begins, demand.start + ends, step
        yield demand.start, demand.end, opened
        for begins, ends, step in down:
            yield demand.end + begins, demand.end + ends, step


def _sweep(schedule: Schedule, found: list[Demand], since: int, until: int) -> tuple[State, tuple[Transition, ...]]:
    """The state at `since` and every change of it in (since, until)."""
    bits: dict[_Step, int] = {}  # a handful of distinct steps recur every month: a set of them is a number
    events: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for start, end, step in _steps(schedule, found):
        if end > since and start < until and start < end:
            bit = bits.setdefault(step, 1 << len(bits))
            events[max(start, since)].append((bit, 1))
            events[end].append((bit, -1))
    counts = dict.fromkeys(bits.values(), 0)
    judged = {0: State(schedule.baseline, Phase.IDLE, None)}
    active, initial = 0, judged[0]
    state, changes = initial, list[Transition]()
    for at in sorted(events):
        if at >= until:
            break
        for bit, count in events[at]:
            counts[bit] += count
            active = active | bit if counts[bit] else active & ~bit
        now = judged.get(active)
        if now is None:
            now = judged[active] = _judge(schedule, [step for step, bit in bits.items() if active & bit])
        if at <= since:
            initial = state = now
        elif now[:3] != state[:3]:
            changes.append(Transition(utc(at), now))
            state = now
    return initial, tuple(changes)


def _judge(schedule: Schedule, active: list[_Step]) -> State:
    """The highest demand sets the minimum; the phase is whether a window is open, or else what the highest one does."""
    opened = [step for step in active if step.rank >= _RANK[Phase.ACTIVE]]
    leading = max(opened or active)
    if not opened and leading.replicas <= schedule.baseline:  # stairs to a target that isn't above the baseline
        return State(schedule.baseline, Phase.IDLE, None)
    phase = _PHASES[max(step.rank for step in opened)] if opened else _PHASES[leading.rank]
    others = sorted({step.order for step in active} - {leading.order}, reverse=True)
    return State(
        replicas=max(schedule.baseline, max(active).replicas),
        phase=phase,
        window=schedule.windows[-leading.order].name,
        others=tuple(schedule.windows[-order].name for order in others),
    )
