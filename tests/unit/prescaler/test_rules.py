"""Small rules of the operator that need no cluster: clocks, quantities, whose minimum it is, when a loop counts as stuck."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from prescaler.clock import Clock, from_environment
from prescaler.kube.around import quantity
from prescaler.kube.client import Kube
from prescaler.kube.objects import Hpa, HpaSpec, ManagedFields, Meta, OwnedFields, OwnedSpec, ScaleTargetRef
from prescaler.loop import STALLED_AFTER_S, Loop
from prescaler.window.minimum import decide, target_of
from prescaler.window.schema import InvalidSpecError
from prescaler.window.spec import Spec, parse, replicas_for

NOON = datetime(2027, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("environment", "ahead"),
    [
        pytest.param({}, timedelta(0), id="the real time"),
        pytest.param({"PRESCALER_CLOCK_OFFSET": "22d4h"}, timedelta(days=22, hours=4), id="ahead"),
        pytest.param({"PRESCALER_CLOCK_OFFSET": "-90m"}, timedelta(minutes=-90), id="behind"),
    ],
)
def test_a_rehearsal_clock_is_set_from_the_environment(environment: dict[str, str], ahead: timedelta) -> None:
    clock = from_environment(environment)
    assert clock.offset == ahead
    assert (clock.rehearsal is None) == (not ahead)


def test_a_rehearsal_can_start_at_a_moment() -> None:
    clock = from_environment({"PRESCALER_CLOCK_START": "2026-12-14T18:00:00Z"})
    assert abs(clock.now() - datetime(2026, 12, 14, 18, tzinfo=UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "environment",
    [
        {"PRESCALER_CLOCK_OFFSET": "tomorrow"},
        {"PRESCALER_CLOCK_START": "tomorrow"},
        {"PRESCALER_CLOCK_START": "9999-12-31"},
        {"PRESCALER_CLOCK_OFFSET": "-999999d"},
        {"PRESCALER_CLOCK_OFFSET": "999999999d"},
        {"PRESCALER_CLOCK_OFFSET": "1d", "PRESCALER_CLOCK_START": "2026-12-14"},
    ],
)
def test_a_rehearsal_clock_that_makes_no_sense_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidSpecError, match="PRESCALER_CLOCK"):
        from_environment(environment)


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", 0.5), ("2", 2), ("1.5Gi", 1610612736), ("128Mi", 134217728), ("1k", 1000), ("1e3", 1000), ("1E", 10**18)],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, value: float) -> None:
    assert quantity(text) == 1000 * value


@pytest.mark.parametrize(
    ("rate", "per_pod", "headroom", "pods"),
    [
        (100, 10, "1.1", 11),
        (1000, 125, "1", 8),
        (1001, 125, "1", 9),
        (1, 9, "1", 1),
        (100_000_000, 100_000_000, "9999.999", 10_000),
        (7, 3, "1.285714", 3),
    ],
)
def test_demand_is_rounded_up_and_exact_in_the_plan_and_in_the_rules(
    rate: int, per_pod: int, headroom: str, pods: int
) -> None:
    assert replicas_for(Fraction(rate), per_pod, headroom) == pods
    demand = {"requestsPerSecond": rate, "requestsPerSecondPerPod": per_pod, "headroom": headroom}
    window = {"name": "w", "fromDay": 15, "toDay": 26, "demand": demand}
    spec(windows=[window], baseline={"minReplicas": pods}, rules=True)
    if pods < 10_000:
        with pytest.raises(InvalidSpecError, match="a window asks for less than baseline"):
            spec(windows=[window], baseline={"minReplicas": pods + 1}, rules=True)
    peaks = [{"from": "18:00", "to": "22:00", "demand": demand}]
    with pytest.raises(InvalidSpecError, match="more than its window"):
        spec(windows=[window | {"peaks": peaks}], baseline={"minReplicas": 1}, rules=True)


def spec(*, rules: bool = False, **changes: object) -> Spec:
    window = {"name": "w", "fromDay": 15, "toDay": 26, "minReplicas": 8}
    required = {"targetRef": {"name": "energy"}, "baseline": {"minReplicas": 2}, "timeZones": ["Europe/Moscow"]}
    return parse({**required, "windows": [window], **changes}, rules=rules)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert spec(baseline={"minReplicas": 2.0}, rules=True).baseline.min_replicas == 2


def hpa(minimum: int, *managers: str) -> Hpa:
    owned = OwnedFields(OwnedSpec(min_replicas={}))
    meta = Meta(name="energy", managed_fields=[ManagedFields(manager, owned) for manager in managers])
    return Hpa(meta, HpaSpec(max_replicas=20, scale_target_ref=ScaleTargetRef("energy"), min_replicas=minimum))


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        pytest.param(hpa(8, "prescaler"), 2, 2, id="our own is lowered"),
        pytest.param(hpa(8, "kubectl-edit"), 2, 8, id="somebody's higher one is not"),
        pytest.param(hpa(8, "prescaler", "argocd"), 2, 8, id="nor one that somebody shares with us"),
        pytest.param(hpa(8), 2, 8, id="nor an orphan: it may have been a human's"),
        pytest.param(hpa(1), 2, 2, id="a defaulted 1 is nobody's"),
        pytest.param(hpa(3, "kubectl-edit"), 8, 8, id="a lower one is raised, whosever it is"),
    ],
)
def test_under_raise_only_our_own_minimum_is_ever_lowered(found: Hpa, wanted: int, expected: int) -> None:
    assert decide(target_of(found), wanted).minimum == expected


async def test_a_loop_that_doesnt_turn_is_stalled() -> None:
    now = 0.0
    loop = Loop(Kube(), Clock(), monotonic=lambda: now)
    assert loop.stalled_for_s() is None
    now = STALLED_AFTER_S + 1
    assert loop.stalled_for_s() == STALLED_AFTER_S + 1


@pytest.mark.parametrize("zone", ["Europe/Moskow", "Europe", "../../etc/passwd", "Moscow"])
def test_an_unknown_zone_is_refused_and_never_replaced(zone: str) -> None:
    """Zalando's ScalingSchedule silently takes Berlin for a misspelt zone."""
    with pytest.raises(InvalidSpecError, match="there is no time zone"):
        spec(timeZones=[zone])
