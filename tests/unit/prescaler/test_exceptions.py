"""Exceptions people can trust: ranges, single windows, extra windows, and a warning where one changes nothing."""

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from prescaler.plan.occurrences import without_effect
from prescaler.plan.planner import openings, plan, state_at, transitions
from prescaler.plan.schedule import Action, Exemption, Schedule, Window
from unit.prescaler.rig import INSIDE, Rig

MOSCOW = ZoneInfo("Europe/Moscow")
TWO = (Window("first", 15, 26, 8), Window("second", 10, 20, 5))


def schedule(*exemptions: Exemption) -> Schedule:
    return Schedule(2, (MOSCOW,), TWO, exemptions=exemptions)


def minimum(made: Schedule, at: str) -> int:
    return state_at(made, datetime.fromisoformat(f"{at}T12:00+03:00")).replicas


def test_a_range_is_one_entry() -> None:
    holidays = schedule(Exemption(date(2027, 1, 16), Action.SKIP, to=date(2027, 1, 18)))
    assert [minimum(holidays, f"2027-01-{day}") for day in (15, 16, 17, 18, 19)] == [8, 2, 2, 2, 8]


def test_an_exception_may_mean_one_window_only() -> None:
    without = schedule(Exemption(date(2027, 1, 16), Action.SKIP, windows=("first",)))
    assert minimum(without, "2027-01-16") == 5


def test_an_extra_window_is_opened_on_its_days() -> None:
    extra = schedule(Exemption(date(2027, 1, 2), Action.OPEN, replicas=4, to=date(2027, 1, 3)))
    assert [minimum(extra, f"2027-01-0{day}") for day in (1, 2, 3, 4)] == [2, 4, 4, 2]
    assert state_at(extra, datetime(2027, 1, 2, 12, tzinfo=UTC)).window == "open-2027-01-02"


def test_a_skip_wins_over_an_override_of_the_same_day() -> None:
    both = schedule(
        Exemption(date(2027, 1, 21), Action.OVERRIDE, replicas=4, to=date(2027, 1, 23)),
        Exemption(date(2027, 1, 22), Action.SKIP),
    )
    assert [minimum(both, f"2027-01-{day}") for day in (21, 22, 23)] == [4, 2, 4]


@pytest.mark.parametrize(
    ("exemption", "idle"),
    [
        pytest.param(Exemption(date(2027, 1, 5), Action.OVERRIDE, replicas=4), True, id="an Override outside"),
        pytest.param(
            Exemption(date(2027, 1, 27), Action.EXTEND, until=date(2027, 1, 29)), True, id="an Extend of the day after"
        ),
        pytest.param(
            Exemption(date(2027, 1, 20), Action.EXTEND, until=date(2027, 1, 22)), False, id="it extends the second"
        ),
        pytest.param(
            Exemption(date(2027, 1, 20), Action.EXTEND, until=date(2027, 1, 22), windows=("first",)),
            True,
            id="an Extend inside",
        ),
        pytest.param(
            Exemption(date(2027, 1, 26), Action.EXTEND, until=date(2027, 1, 28)), False, id="a moved deadline"
        ),
        pytest.param(
            Exemption(date(2027, 1, 15), Action.SKIP, windows=("third",)), True, id="a window that isn't there"
        ),
        pytest.param(
            Exemption(date(2027, 1, 1), Action.SKIP, to=date(2027, 1, 11)), False, id="a range that reaches one"
        ),
        pytest.param(Exemption(date(2027, 1, 1), Action.OPEN, replicas=3), False, id="an extra window"),
    ],
)
def test_an_exception_that_changes_nothing_is_found(exemption: Exemption, idle: bool) -> None:  # noqa: FBT001 - a parameter
    assert without_effect(schedule(exemption)) == ([exemption] if idle else [])


def test_a_chain_of_extensions_is_the_same_whenever_one_looks() -> None:
    chain = schedule(
        Exemption(date(2027, 1, 26), Action.EXTEND, until=date(2027, 3, 10)),
        Exemption(date(2027, 3, 10), Action.EXTEND, until=date(2027, 4, 20)),
    )
    at = datetime(2027, 4, 10, 9, tzinfo=UTC)
    before = transitions(chain, datetime(2027, 1, 1, tzinfo=UTC), at)
    assert state_at(chain, at).replicas == before[-1].state.replicas == 8
    assert without_effect(chain) == []


def test_the_start_of_a_window_is_the_same_up_to_its_last_hour(volga: Schedule) -> None:
    """Yekaterinburg closes two hours before Moscow: the start in Yekaterinburg is still the window's."""
    bare = replace(volga, exemptions=())
    (opening, *_) = plan(bare, datetime(2026, 12, 26, 20, 30, tzinfo=UTC)).openings
    assert opening.start == datetime(2026, 12, 14, 19, tzinfo=UTC)
    (shown, *_) = openings(bare, datetime(2026, 12, 26, 20, 30, tzinfo=UTC), datetime(2026, 12, 27, tzinfo=UTC))
    assert shown.start == opening.start


async def test_an_exception_that_changes_nothing_is_a_warning_until_it_is_past(rig: Rig) -> None:
    await rig.hpa()
    await rig.window(exceptions=[{"date": "2027-01-27", "action": "Extend", "until": "2027-01-29"}])
    await rig.tick(INSIDE)
    kind, reason, message = await rig.condition("ExceptionsCurrent")
    assert (kind, reason) == ("False", "HitsNothing")
    assert "Extend of 2027-01-27 changes nothing" in message
    await rig.tick(INSIDE.replace(month=2))
    assert (await rig.condition("ExceptionsCurrent"))[0] == "True"


async def test_a_list_must_reach_as_far_ahead_as_was_asked(rig: Rig) -> None:
    await rig.hpa()
    await rig.window(exceptions=[{"date": "2027-01-22", "action": "Skip"}], exceptionsReach="30d")
    await rig.tick(datetime(2026, 12, 22, 12, tzinfo=UTC))
    assert (await rig.condition("ExceptionsCurrent"))[1] == "Listed"
    await rig.tick(datetime(2026, 12, 24, 12, tzinfo=UTC))
    assert (await rig.condition("ExceptionsCurrent"))[1] == "ListRanOut", "a month before the list ends"
