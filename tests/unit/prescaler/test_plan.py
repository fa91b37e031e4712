"""The rules of the plan, one story each; the defects of other schedulers, one regression each."""

import time
from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from prescaler.plan.planner import Phase, plan, state_at, transitions
from prescaler.plan.schedule import Action, Exemption, Peak, Ramp, Schedule, Window

MOSCOW = ZoneInfo("Europe/Moscow")
BERLIN = ZoneInfo("Europe/Berlin")


def minimum(schedule: Schedule, at: str) -> int:
    return state_at(schedule, datetime.fromisoformat(at)).replicas


def monthly(from_day: int, to_day: int, **fields: object) -> Schedule:
    return Schedule(2, (MOSCOW,), (Window("w", from_day, to_day, 5, **fields),))  # type: ignore[arg-type]  # the rows below name the fields


@pytest.mark.parametrize(
    ("schedule", "at", "expected"),
    [
        pytest.param(monthly(15, 26), "2027-02-28T12:00+03:00", 2, id="closed at the end of February"),
        pytest.param(monthly(15, 26), "2027-02-14T23:59:59+03:00", 2, id="closed a second before"),
        pytest.param(monthly(15, 26), "2027-02-15T00:00+03:00", 5, id="open at the first instant"),
        pytest.param(monthly(15, 26), "2027-02-26T23:59:59+03:00", 5, id="open for the whole last day"),
        pytest.param(monthly(15, 26), "2027-02-27T00:00+03:00", 2, id="closed at the first instant after"),
        pytest.param(monthly(29, 31), "2027-02-28T12:00+03:00", 5, id="days past the month's end mean its last day"),
        pytest.param(monthly(29, 31), "2028-02-28T12:00+03:00", 2, id="the 28th isn't the last day of a leap February"),
        pytest.param(monthly(29, 31), "2028-02-29T12:00+03:00", 5, id="the 29th is"),
        pytest.param(monthly(31, 31), "2027-04-30T12:00+03:00", 5, id="the 31st of April is the 30th"),
        pytest.param(monthly(28, 3), "2027-03-03T23:59+03:00", 5, id="crosses the month's end"),
        pytest.param(monthly(28, 3), "2026-12-31T23:59+03:00", 5, id="crosses the year's end"),
        pytest.param(monthly(28, 3), "2027-01-01T00:00+03:00", 5, id="is open on New Year's day"),
        pytest.param(monthly(28, 3), "2027-01-04T00:00+03:00", 2, id="closes in the new year"),
        pytest.param(monthly(15, 26, start_s=9 * 3600), "2027-01-15T08:59:59+03:00", 2, id="has a start time"),
        pytest.param(monthly(15, 26, end_s=18 * 3600), "2027-01-26T18:00+03:00", 2, id="has an end time"),
        pytest.param(monthly(15, 15, start_s=9 * 3600, end_s=9 * 3600), "2027-01-15T09:00+03:00", 2, id="may be empty"),
    ],
)
def test_a_window_is_open_on_its_days(schedule: Schedule, at: str, expected: int) -> None:
    assert minimum(schedule, at) == expected


@pytest.mark.parametrize(
    ("start_s", "end_s", "opens", "closes"),
    [
        pytest.param(150 * 60, 180 * 60, "2027-03-28T01:00Z", "2027-03-28T01:00Z", id="all of it swallowed: not open"),
        pytest.param(
            60 * 60, 150 * 60, "2027-03-28T00:00Z", "2027-03-28T01:00Z", id="a swallowed end is the gap's end"
        ),
        pytest.param(150 * 60, 240 * 60, "2027-03-28T01:00Z", "2027-03-28T02:00Z", id="a swallowed start likewise"),
    ],
)
def test_a_local_time_that_a_clock_change_swallows(start_s: int, end_s: int, opens: str, closes: str) -> None:
    """Berlin, 28 March 2027: 02:00 becomes 03:00."""
    schedule = Schedule(2, (BERLIN,), (Window("w", 28, 28, 5, start_s=start_s, end_s=end_s),))
    changes = transitions(schedule, datetime(2027, 3, 27, tzinfo=UTC), datetime(2027, 3, 29, tzinfo=UTC))
    expected = [opens, closes] if opens != closes else []
    assert [t.at for t in changes] == [datetime.fromisoformat(e) for e in expected]


def test_a_local_time_that_occurs_twice_opens_at_the_first_and_closes_at_the_second() -> None:
    """Berlin, 31 October 2027: 03:00 becomes 02:00."""
    schedule = Schedule(2, (BERLIN,), (Window("w", 31, 31, 5, start_s=9000, end_s=9000 + 60),))
    changes = transitions(schedule, datetime(2027, 10, 30, tzinfo=UTC), datetime(2027, 11, 1, tzinfo=UTC))
    assert [t.at.isoformat() for t in changes] == ["2027-10-31T00:30:00+00:00", "2027-10-31T01:31:00+00:00"]


def test_a_district_in_three_zones_is_open_from_the_first_zone_to_the_last(volga: Schedule) -> None:
    (opening, *_) = plan(volga, datetime(2026, 12, 1, tzinfo=UTC)).openings
    assert opening.start == datetime(2026, 12, 14, 19, tzinfo=UTC)  # the 15th in Yekaterinburg
    assert opening.end == datetime(2026, 12, 26, 21, tzinfo=UTC)  # the 27th in Moscow


def test_the_stairs_are_climbed_before_the_lead_time_and_left_after_the_end(volga: Schedule) -> None:
    year_end = transitions(volga, datetime(2026, 12, 14, tzinfo=UTC), datetime(2026, 12, 27, tzinfo=UTC))
    rows = [(f"{t.at:%d %H:%M}", t.state.replicas, t.state.phase.value) for t in year_end]
    assert rows[:5] == [
        ("14 18:15", 4, "RampUp"),
        ("14 18:20", 5, "RampUp"),
        ("14 18:25", 7, "RampUp"),
        ("14 18:30", 8, "PreScaled"),
        ("14 19:00", 8, "Active"),
    ]
    assert rows[5:9] == [
        ("15 12:25", 10, "Active"),
        ("15 12:30", 12, "Active"),
        ("15 13:00", 12, "Peak"),
        ("15 19:00", 8, "Active"),
    ]
    assert rows[-2:] == [("26 21:00", 5, "RampDown"), ("26 21:30", 2, "Idle")]


def test_a_skipped_day_is_a_closed_day(volga: Schedule) -> None:
    skipping = replace(volga, zones=(MOSCOW,), exemptions=(Exemption(date(2026, 12, 20), Action.SKIP),))
    assert minimum(skipping, "2026-12-20T12:00+03:00") == 2
    assert minimum(skipping, "2026-12-20T23:30+03:00") == 8, "the next day is prepared for, like any start"


def test_an_extension_moves_the_end_and_may_be_extended(volga: Schedule) -> None:
    assert minimum(volga, "2027-01-28T23:59+03:00") == 8
    assert minimum(volga, "2027-01-29T01:00+03:00") == 2
    longer = Exemption(date(2027, 1, 28), Action.EXTEND, until=date(2027, 2, 2))
    assert minimum(replace(volga, exemptions=(*volga.exemptions, longer)), "2027-02-02T12:00+03:00") == 8


def test_an_override_is_the_target_of_the_whole_day_peaks_included(volga: Schedule) -> None:
    holiday = replace(volga, zones=(MOSCOW,), exemptions=(Exemption(date(2026, 12, 20), Action.OVERRIDE, replicas=3),))
    assert minimum(holiday, "2026-12-20T19:00+03:00") == 3
    assert minimum(holiday, "2026-12-19T19:00+03:00") == 12


def test_of_overlapping_windows_the_higher_one_wins_and_the_other_is_named() -> None:
    both = (Window("small", 10, 20, 4), Window("large", 15, 26, 9))
    state = state_at(Schedule(2, (MOSCOW,), both), datetime.fromisoformat("2027-01-17T12:00+03:00"))
    assert state == (9, Phase.ACTIVE, "large", ("small",))


def test_a_higher_window_that_is_only_coming_does_not_name_the_open_one() -> None:
    both = (Window("open", 10, 20, 4), Window("coming", 18, 26, 9))
    state = state_at(Schedule(2, (MOSCOW,), both, lead_s=3600), datetime.fromisoformat("2027-01-17T23:30+03:00"))
    assert state == (9, Phase.ACTIVE, "open", ("coming",))


# ── what other schedulers get wrong ──────────────────────────────────────────────────────────────


def test_a_cron_pair_from_25_to_30_skips_february_a_window_does_not() -> None:
    """KEDA's cron scaler: the end of "25 → 30" never comes in February, so the next start is in March."""
    assert [minimum(monthly(25, 30), f"2027-02-{day}T12:00+03:00") for day in (24, 25, 28)] == [2, 5, 5]
    assert minimum(monthly(25, 30), "2027-03-01T12:00+03:00") == 2


def test_a_cron_pair_from_31_to_5_runs_on_until_march_a_window_does_not() -> None:
    """KEDA's cron scaler: "31 → 5" starts on 31 January, and no 31st comes before March."""
    assert minimum(monthly(31, 5), "2027-02-05T12:00+03:00") == 5
    assert minimum(monthly(31, 5), "2027-02-06T12:00+03:00") == 2
    assert minimum(monthly(31, 5), "2027-02-28T12:00+03:00") == 5, "February's last day stands in for its 31st"


def test_a_window_is_not_cut_at_midnight() -> None:
    """Zalando's ScalingSchedule ends every window with its day."""
    night = monthly(15, 26, peaks=(Peak(22 * 3600, 2 * 3600, 12),))
    hours = ("16T21:59", "16T22:00", "16T23:59", "17T00:00", "17T01:59", "17T02:00")
    assert [minimum(night, f"2027-01-{h}+03:00") for h in hours] == [5, 12, 12, 12, 12, 5]
    assert minimum(night, "2027-01-15T00:30+03:00") == 12, "the hour counts, not the day the night began"


def test_days_of_the_month_are_first_class() -> None:
    """Zalando's, Tortoise's and the cloud providers' schedules know days of the week only."""
    assert [minimum(monthly(15, 26), f"2027-{m:02}-15T12:00+03:00") for m in range(1, 13)] == [5] * 12


def test_a_run_missed_during_a_restart_is_not_lost(volga: Schedule) -> None:
    """Aliyun's cronhpa and Karmada's CronFederatedHPA act at edges: down at the edge, wrong for the month."""
    started_after_the_edge = plan(volga, datetime(2026, 12, 18, 4, tzinfo=UTC))
    assert started_after_the_edge.now[:2] == (8, Phase.ACTIVE)


def test_capacity_is_asked_for_before_the_window_not_at_its_start(volga: Schedule) -> None:
    """No cron scaler has a lead time: pods start when the load is already there."""
    assert minimum(volga, "2026-12-14T18:30Z") == 8


def test_the_minimum_climbs_in_steps_and_never_jumps_by_all_at_once(volga: Schedule) -> None:
    """A jump starts every pod in the same second: image pulls, connection storms. Only Zalando's has ramps."""
    ramp = transitions(volga, datetime(2026, 12, 14, tzinfo=UTC), datetime(2026, 12, 14, 18, 31, tzinfo=UTC))
    assert [t.state.replicas for t in ramp] == [4, 5, 7, 8]


def test_a_year_can_be_seen_before_it_happens(volga: Schedule) -> None:
    """None of them has a preview."""
    year = transitions(volga, datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC))
    assert sum(t.state.phase is Phase.PRE_SCALED for t in year) == 12


def test_public_holidays_are_exceptions() -> None:
    """KEDA users ask for them (issue 6846)."""
    holidays = tuple(Exemption(date(2027, 1, d), Action.SKIP) for d in range(1, 9))
    schedule = replace(monthly(28, 12), exemptions=holidays)
    assert [minimum(schedule, f"2027-01-{d:02}T12:00+03:00") for d in (1, 8, 9, 12)] == [2, 2, 5, 5]


def test_ten_years_are_planned_in_fifty_milliseconds(volga: Schedule) -> None:
    """The best of five: the machine may be busy, the planner must not be."""
    spans = []
    for _ in range(5):
        began = time.process_time()
        transitions(volga, datetime(2024, 1, 1, tzinfo=UTC), datetime(2034, 1, 1, tzinfo=UTC))
        spans.append(time.process_time() - began)
    assert min(spans) < 0.1, "twice the promise (50 ms on a quiet machine), because a neighbour shares the core's cache"


def test_fractions_of_a_second_are_rounded_to_the_safe_side() -> None:
    """Seven steps in ten seconds: up a little early, down a little late."""
    schedule = replace(monthly(15, 15), ramp_up=Ramp(10, 7), ramp_down=Ramp(10, 7))
    changes = transitions(schedule, datetime(2027, 1, 14, tzinfo=UTC), datetime(2027, 1, 17, tzinfo=UTC))
    start, end = datetime(2027, 1, 14, 21, tzinfo=UTC), datetime(2027, 1, 15, 21, tzinfo=UTC)
    assert [(start - t.at).seconds for t in changes if t.state.phase is Phase.RAMP_UP] == [9, 6, 3]
    assert [(t.at - end).seconds for t in changes if t.at >= end] == [0, 3, 6, 9]
