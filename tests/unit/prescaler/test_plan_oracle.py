"""The planner against a slow oracle that reads the wall clock minute by minute, for any schedule from 2024 to 2032."""

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from prescaler.plan.planner import OPEN, TRANSITIONS_MAX, plan, state_at, transitions
from prescaler.plan.schedule import Action, Exemption, Peak, Ramp, Schedule, Window
from support.drawn import examples
from unit.prescaler.oracle import Oracle

ZONES = [
    "Europe/Moscow", "Europe/Samara", "Asia/Yekaterinburg",  # the district: +3, +4, +5
    "Europe/Berlin", "America/New_York",  # clock changes
    "Australia/Lord_Howe", "Africa/Casablanca",  # by half an hour; for Ramadan
]  # fmt: skip
DAYS = 22  # what the oracle looks at; the margins (longer than any lead and ramp) are not compared
MARGIN_D = 2

half_hours = st.integers(0, 47).map(lambda n: n * 1800)
targets = st.integers(1, 20)
ramps = st.builds(lambda steps, minutes: Ramp(steps * minutes * 60, steps), st.integers(1, 4), st.integers(0, 30))


@st.composite
def peaks(draw: st.DrawFn) -> Peak:
    start_s, end_s = draw(st.lists(half_hours, min_size=2, max_size=2, unique=True))
    return Peak(start_s, end_s, draw(targets))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    return Window(
        name=draw(st.sampled_from("abc")),
        from_day=draw(st.integers(1, 31)),
        to_day=draw(st.integers(1, 31)),
        replicas=draw(targets),
        start_s=draw(half_hours),
        end_s=draw(half_hours) + 1800,
        peaks=tuple(draw(st.lists(peaks(), max_size=1))),
    )


@st.composite
def exemptions(draw: st.DrawFn, around: date) -> Exemption:
    day = around + timedelta(days=draw(st.integers(-5, 22)))
    action = draw(st.sampled_from(Action))
    only = () if action is Action.OPEN else tuple(draw(st.lists(st.sampled_from("abc"), max_size=2, unique=True)))
    if action is Action.EXTEND:
        return Exemption(day, action, until=day + timedelta(days=draw(st.integers(0, 4))), windows=only)
    to = draw(st.none() | st.integers(0, 3).map(lambda days: day + timedelta(days=days)))
    asked = draw(targets) if action in {Action.OVERRIDE, Action.OPEN} else None
    return Exemption(day, action, replicas=asked, to=to, windows=only)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Schedule, datetime]:
    start = draw(st.dates(date(2024, 1, 1), date(2032, 10, 1)))
    special = draw(st.lists(exemptions(start + timedelta(days=MARGIN_D)), max_size=3, unique_by=lambda e: e.day))
    schedule = Schedule(
        baseline=draw(st.integers(1, 5)),
        zones=tuple(ZoneInfo(z) for z in draw(st.lists(st.sampled_from(ZONES), min_size=1, max_size=2, unique=True))),
        windows=tuple(draw(st.lists(windows(), min_size=1, max_size=2))),
        lead_s=draw(st.integers(0, 180)) * 60,
        ramp_up=draw(ramps),
        ramp_down=draw(ramps),
        exemptions=tuple(sorted(special, key=lambda e: e.day)),
    )
    return schedule, datetime(start.year, start.month, start.day, tzinfo=UTC)


def agree(schedule: Schedule, start: datetime) -> None:
    """Where the oracle's answer changes, the planner's does, and nowhere else."""
    oracle = Oracle(schedule, start, DAYS)
    first, last = MARGIN_D * 1440, (DAYS - MARGIN_D) * 1440
    since, until = start + timedelta(minutes=first), start + timedelta(minutes=last)
    state = state_at(schedule, since)
    changes = {int((t.at - start) / timedelta(minutes=1)): t.state for t in transitions(schedule, since, until)}
    edges = {edge for run in oracle.runs for edge in (run.first, run.end)}
    probes = {first, *changes, *(c - 1 for c in changes), *edges, *(e - 1 for e in edges)}
    probes |= set(random.Random(int(start.timestamp())).sample(range(first, last), 60))  # noqa: S311 - probes, not secrets
    for minute in sorted(m for m in probes if first <= m < last):
        for at in sorted(c for c in changes if c <= minute):
            state = changes.pop(at)
        assert state.replicas == oracle.minimum(minute), start + timedelta(minutes=minute)
        assert (state.phase in OPEN) == oracle.is_open(minute), start + timedelta(minutes=minute)


@settings(max_examples=examples(40))
@given(cases())
def test_the_plan_is_what_the_wall_clock_says(case: tuple[Schedule, datetime]) -> None:
    agree(*case)


def test_short_and_long_months_of_nine_years_are_what_the_wall_clock_says(volga: Schedule) -> None:
    for year in range(2024, 2033):
        for month in (12,) if year % 2 else (2,):
            agree(volga, datetime(year, month, 10, tzinfo=UTC))


@settings(max_examples=examples(40))
@given(cases(), st.integers(0, 40 * 86_400))
def test_a_plan_made_at_any_moment_agrees_with_one_made_before(case: tuple[Schedule, datetime], later_s: int) -> None:
    schedule, start = case
    at = start + timedelta(seconds=later_s)
    made_now, made_before = plan(schedule, at), transitions(schedule, start, at + timedelta(seconds=1))
    assert made_now.now[:3] == (made_before[-1].state if made_before else state_at(schedule, start))[:3]
    following = transitions(schedule, at + timedelta(seconds=1), made_now.until)
    assert made_now.transitions == tuple(following[: len(made_now.transitions)])
    assert len(made_now.transitions) == min(TRANSITIONS_MAX, len(following))
