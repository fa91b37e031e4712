"""The rules of readings, as tables and as properties."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from energy.domain.checks import CheckPolicy, Meter, doubts_of_next, judge
from energy.domain.identity import reading_id_of
from energy.domain.reading import Flag, Neighbour, same_request
from energy.domain.window import SubmissionWindow, is_inside, period_of, window_state
from unit.energy.fakes import a_reading

SAMARA = ZoneInfo("Europe/Samara")
YEKATERINBURG = ZoneInfo("Asia/Yekaterinburg")
TASK = SubmissionWindow(15, 26)
POLICY = CheckPolicy(TASK, "Europe/Samara", 300, 500)
METER = Meter(digits=5, multiplier=Decimal(1), zone=SAMARA)
IN_WINDOW = datetime(2026, 11, 20, 12, tzinfo=SAMARA)
zones = st.sampled_from(["Europe/Samara", "Europe/Moscow", "Asia/Yekaterinburg", "Europe/Berlin"]).map(ZoneInfo)
windows = st.tuples(st.integers(1, 31), st.integers(1, 31)).map(lambda d: SubmissionWindow(min(d), max(d)))
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@pytest.mark.parametrize(
    ("at", "period", "inside"),
    [
        pytest.param("2026-11-14T23:59:59+04:00", date(2026, 11, 1), False, id="a second before it opens"),
        pytest.param("2026-11-15T00:00:00+04:00", date(2026, 11, 1), True, id="as it opens"),
        pytest.param("2026-11-26T23:59:59+04:00", date(2026, 11, 1), True, id="the last second"),
        pytest.param("2026-11-27T00:00:00+04:00", date(2026, 12, 1), False, id="late counts for the next period"),
        pytest.param("2026-12-31T12:00:00+04:00", date(2027, 1, 1), False, id="late in December is January's"),
        pytest.param("2026-11-14T20:00:00+00:00", date(2026, 11, 1), True, id="days are the account's, not UTC's"),
    ],
)
def test_the_period_of_a_reading(at: str, period: date, *, inside: bool) -> None:
    moment = datetime.fromisoformat(at)
    assert (period_of(moment, TASK, SAMARA), is_inside(moment, TASK, SAMARA)) == (period, inside)


def test_the_same_instant_can_be_inside_in_one_zone_and_outside_in_another() -> None:
    instant = datetime(2026, 11, 14, 19, 30, tzinfo=UTC)
    assert (is_inside(instant, TASK, YEKATERINBURG), is_inside(instant, TASK, SAMARA)) == (True, False)


def test_days_past_the_months_end_mean_its_last_day() -> None:
    window = SubmissionWindow(30, 31)
    assert is_inside(datetime(2027, 2, 28, 12, tzinfo=SAMARA), window, SAMARA)
    assert period_of(datetime(2027, 2, 28, 12, tzinfo=SAMARA), window, SAMARA) == date(2027, 2, 1)


@given(moments, windows, zones)
def test_the_window_that_is_told_is_the_one_that_readings_are_judged_by(
    now: datetime, window: SubmissionWindow, zone: ZoneInfo
) -> None:
    state = window_state(now, window, zone)
    assert state.open == is_inside(now, window, zone)
    assert state.period == period_of(now, window, zone)
    assert state.open == (state.opens_at <= now < state.closes_at)
    assert now < state.closes_at


@given(moments, windows, zones)
def test_periods_never_go_back_as_time_goes_on(at: datetime, window: SubmissionWindow, zone: ZoneInfo) -> None:
    assert period_of(at, window, zone) <= period_of(at + timedelta(hours=7), window, zone)


def previous(value: object, days: float = 30) -> Neighbour:
    return Neighbour(Decimal(str(value)), IN_WINDOW - timedelta(days=days))


@pytest.mark.parametrize(
    ("value", "before", "flags"),
    [
        pytest.param(100, None, [], id="the first"),
        pytest.param(100, previous(100), [], id="nothing consumed"),
        pytest.param(99, previous(100), [Flag.LESS_THAN_PREVIOUS], id="lower"),
        pytest.param(12, previous(99_990), [Flag.ROLLOVER], id="the counter went round"),
        pytest.param(9_999, previous(90_000), [Flag.ROLLOVER], id="rollover at both edges"),
        pytest.param(10_000, previous(90_000), [Flag.LESS_THAN_PREVIOUS], id="too far past zero"),
        pytest.param(12, previous(89_999), [Flag.LESS_THAN_PREVIOUS], id="too far from the end"),
        pytest.param(12, previous(100_000), [Flag.LESS_THAN_PREVIOUS], id="the counter cannot show the previous"),
        pytest.param(15_100, previous(100), [], id="exactly the most that is likely"),
        pytest.param("15100.001", previous(100), [Flag.SPIKE], id="a Wh more"),
        pytest.param(601, previous(100, days=0.1), [Flag.SPIKE], id="less than a day counts as one"),
    ],
)
def test_a_value_is_compared_with_the_previous(value: object, before: Neighbour | None, flags: list[Flag]) -> None:
    assert judge(Decimal(str(value)), IN_WINDOW, before, METER, POLICY, IN_WINDOW) == flags


@pytest.mark.parametrize(
    ("value", "fits"),
    [(99_999, True), ("99999.9", True), (100_000, False), ("1.25", False), ("999999999.999", False)],
)
def test_a_value_that_the_counter_cannot_show_is_flagged(value: object, *, fits: bool) -> None:
    flags = judge(Decimal(str(value)), IN_WINDOW, None, dataclasses.replace(METER, decimals=1), POLICY, IN_WINDOW)
    assert flags == ([] if fits else [Flag.BEYOND_COUNTER])


@pytest.mark.parametrize(
    ("value", "after", "doubts"),
    [
        pytest.param(100, None, [], id="nothing comes after"),
        pytest.param(100, 100, [], id="the next is the same"),
        pytest.param(101, 100, [Flag.MORE_THAN_NEXT], id="the next is lower"),
        pytest.param(0, 100_000, [Flag.SPIKE], id="the next would be a spike"),
        pytest.param(99_990, 12, [], id="a rollover was one before"),
    ],
)
def test_a_person_is_asked_because_of_the_next_reading(value: int, after: int | None, doubts: list[Flag]) -> None:
    following = Neighbour(Decimal(after), IN_WINDOW + timedelta(days=2)) if after is not None else None
    assert doubts_of_next(Decimal(value), IN_WINDOW, following, METER, POLICY) == doubts


def test_another_value_of_the_same_moment_is_flagged() -> None:
    assert judge(Decimal(2), IN_WINDOW, Neighbour(Decimal(1), IN_WINDOW), METER, POLICY, IN_WINDOW) == [Flag.SAME_TIME]


def test_transformer_meters_are_judged_by_what_was_consumed() -> None:
    times_40 = dataclasses.replace(METER, multiplier=Decimal(40))
    assert judge(Decimal(500), IN_WINDOW, previous(0), times_40, POLICY, IN_WINDOW) == [Flag.SPIKE]


@pytest.mark.parametrize(("ahead_s", "flags"), [(300, []), (300.001, [Flag.FUTURE])])
def test_a_clock_may_be_ahead_a_little(ahead_s: float, flags: list[Flag]) -> None:
    assert judge(Decimal(1), IN_WINDOW + timedelta(seconds=ahead_s), None, METER, POLICY, IN_WINDOW) == flags


def test_a_removed_meter_cannot_be_read() -> None:
    removed = dataclasses.replace(METER, removed_at=IN_WINDOW - timedelta(days=1))
    assert judge(Decimal(1), IN_WINDOW, None, removed, POLICY, IN_WINDOW) == [Flag.AFTER_REMOVAL]


def test_an_unknown_device_is_flagged_and_its_rollover_cannot_be_known() -> None:
    assert judge(Decimal(12), IN_WINDOW, previous(99_990), None, POLICY, IN_WINDOW) == [
        Flag.UNMATCHED,
        Flag.LESS_THAN_PREVIOUS,
    ]


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
def test_a_key_names_one_reading_of_one_device_for_ever(key: bytes, other: bytes) -> None:
    device, another = uuid4(), uuid4()
    assert reading_id_of(device, key) == reading_id_of(device, key)
    assert reading_id_of(device, key) != reading_id_of(another, key)
    assert (reading_id_of(device, key) == reading_id_of(device, other)) == (key == other)


def test_a_time_that_was_left_out_is_not_compared() -> None:
    first = a_reading()
    later = replace(first, read_at=first.read_at + timedelta(minutes=1), read_at_given=False)
    assert same_request(later, first)
    assert not same_request(replace(later, read_at_given=True), first)
    assert same_request(replace(later, value="1.0"), first)
