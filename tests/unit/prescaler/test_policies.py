"""Whose minimum it is, and what happens when somebody else has an opinion."""

from typing import Any

import pytest

from prescaler.kube.objects import FINALIZER
from unit.prescaler.rig import BW, END, HPA, INSIDE, LEAD, QUIET, SPEC, Rig


async def owners(rig: Rig) -> list[str]:
    found = (await rig.get(HPA, "energy"))["metadata"]["managedFields"]
    return [m["manager"] for m in found if "f:minReplicas" in m["fieldsV1"].get("f:spec", {})]


async def test_a_window_raises_the_minimum_and_gives_it_back(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(QUIET)
    assert (await rig.minimum(), await owners(rig)) == (2, ["helm"]), "nothing to do, nothing touched"
    await rig.tick(LEAD)
    assert (await rig.minimum(), await owners(rig)) == (8, ["prescaler"])
    status = await rig.status()
    assert (status["phase"], status["minReplicas"], status["next"]) == (
        "PreScaled",
        8,
        "Active 8 at 2027-01-15 00:00 MSK",
    )
    await rig.tick(END)
    assert (await rig.minimum(), (await rig.status())["phase"]) == (2, "Idle")


async def test_nothing_is_written_when_nothing_changes(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    for when in (QUIET, LEAD, INSIDE):
        await rig.tick(when)
        rig.kube.writes.clear()
        for _ in range(3):
            await rig.tick()
        rig.restart()
        await rig.tick()
        assert rig.kube.writes == []


@pytest.mark.parametrize(
    ("policy", "human", "expected", "reason"),
    [
        pytest.param("Raise", 12, 12, "HigherMinimumKept", id="a higher one is left alone"),
        pytest.param("Raise", 3, 8, "Overwritten", id="a lower one is raised"),
        pytest.param("Enforce", 12, 8, "Overwritten", id="enforced downwards"),
        pytest.param("Enforce", 3, 8, "Overwritten", id="enforced upwards"),
    ],
)
async def test_a_human_sets_the_minimum_inside_a_window(
    rig: Rig, policy: str, human: int, expected: int, reason: str
) -> None:
    await rig.hpa()
    await rig.window(driftPolicy=policy)
    await rig.tick(INSIDE)
    await rig.set_minimum(human)
    await rig.tick()
    assert await rig.minimum() == expected
    status, why, message = await rig.condition("DriftDetected")
    assert (status, why) == ("True", reason)
    assert "kubectl-edit" in message


async def test_a_humans_higher_value_outlives_the_window_under_raise(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.set_minimum(12)
    await rig.tick(END)
    assert await rig.minimum() == 12
    assert (await rig.condition("DriftDetected"))[1] == "HigherMinimumKept"


async def test_a_third_value_between_baseline_and_target_is_raised_and_then_restored(rig: Rig) -> None:
    """Kube-downscaler keeps the original in an annotation and never restores somebody's third value."""
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.set_minimum(5)
    await rig.tick()
    assert await rig.minimum() == 8
    await rig.tick(END)
    assert await rig.minimum() == 2


async def test_of_two_windows_on_one_hpa_the_older_wins_and_the_heir_takes_over(rig: Rig) -> None:
    await rig.hpa()
    await rig.window("b-older")
    await rig.tick(INSIDE)
    await rig.call("GET", f"{BW}/b-older")
    while True:  # creation times are whole seconds
        await rig.window("a-younger", windows=[{**SPEC["windows"][0], "minReplicas": 15}])
        older, younger = [(await rig.get(BW, n))["metadata"]["creationTimestamp"] for n in ("b-older", "a-younger")]
        if older < younger:
            break
        await rig.call("DELETE", f"{BW}/a-younger")
    await rig.tick()
    assert await rig.minimum() == 8
    assert (await rig.condition("Conflicted", "a-younger"))[:2] == ("True", "OlderWins")
    assert "b-older" in (await rig.condition("Ready", "a-younger"))[2]
    await rig.call("DELETE", f"{BW}/b-older")
    await rig.tick()
    await rig.tick()
    assert await rig.minimum() == 15


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"labels": {"app.kubernetes.io/managed-by": "keda-operator"}}, id="labelled"),
        pytest.param(
            {"ownerReferences": [{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "e", "uid": "1"}]},
            id="owned",
        ),
    ],
)
async def test_an_hpa_of_keda_is_refused(rig: Rig, metadata: dict[str, Any]) -> None:
    await rig.hpa(**metadata)
    await rig.window()
    await rig.tick(INSIDE)
    assert await rig.minimum() == 2
    assert (await rig.condition("Ready"))[:2] == ("False", "OwnedByKeda")


async def test_a_target_at_zero_is_not_scaled_from_zero(rig: Rig) -> None:
    await rig.hpa()
    off = {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled", "message": "0 replicas"}
    await rig.edit(HPA, "energy/status", {"status": {"currentReplicas": 0, "desiredReplicas": 0, "conditions": [off]}})
    await rig.window()
    await rig.tick(INSIDE)
    assert await rig.minimum() == 2
    assert (await rig.condition("Ready"))[:2] == ("False", "TargetAtZero")


async def test_an_hpa_that_is_absent_is_waited_for(rig: Rig) -> None:
    await rig.window()
    await rig.tick(INSIDE)
    assert (await rig.condition("Ready"))[:2] == ("False", "TargetNotFound")
    await rig.hpa()
    await rig.tick()
    assert await rig.minimum() == 8


@pytest.mark.parametrize(
    ("policy", "expected", "maximum", "ready"),
    [
        pytest.param({"maxReplicasPolicy": "Clamp"}, 6, 6, "True", id="Clamp"),
        pytest.param({"maxReplicasPolicy": "Fail"}, 2, 6, "False", id="Fail"),
    ],
)
async def test_the_maximum_is_never_below_the_minimum(
    rig: Rig, policy: dict[str, Any], expected: int, maximum: int, ready: str
) -> None:
    await rig.hpa(high=6)
    await rig.window(**policy)
    await rig.tick(INSIDE)
    spec = (await rig.get(HPA, "energy"))["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (expected, maximum)
    assert (await rig.condition("Ready"))[0] == ready
    await rig.tick(END)
    spec = (await rig.get(HPA, "energy"))["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6), "both are given back"


async def test_a_suspended_window_leaves_the_hpa_alone(rig: Rig) -> None:
    await rig.hpa()
    await rig.window(mode="Suspended")
    await rig.tick(INSIDE)
    assert await rig.minimum() == 2
    assert (await rig.condition("Ready"))[:2] == ("Unknown", "Suspended")


async def test_a_preview_shows_and_does_not_write(rig: Rig) -> None:
    await rig.hpa()
    await rig.window(mode="Preview")
    await rig.tick(INSIDE)
    assert await rig.minimum() == 2
    assert (await rig.status())["minReplicas"] == 8
    assert "would be 8" in (await rig.condition("Ready"))[2]
    assert not [w for w in rig.kube.writes if "horizontalpodautoscalers" in w]


async def test_a_window_deleted_while_open_gives_the_baseline_back(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    assert (await rig.get(BW, "volga"))["metadata"]["finalizers"] == [FINALIZER]
    await rig.call("DELETE", f"{BW}/volga")
    await rig.tick()
    assert await rig.minimum() == 2
    assert (await rig.call("GET", BW))["items"] == []


async def test_a_window_deleted_outside_waits_for_nobody(rig: Rig) -> None:
    """The finalizer is held only while there is something to give back: an uninstall can't wedge on it."""
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.tick(END)
    await rig.call("DELETE", f"{BW}/volga")
    assert (await rig.call("GET", BW))["items"] == []


async def test_a_deletion_goes_through_when_the_hpa_is_gone_too(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.call("DELETE", f"{HPA}/energy")
    await rig.call("DELETE", f"{BW}/volga")
    await rig.tick()
    assert (await rig.call("GET", BW))["items"] == []


async def test_an_unknown_time_zone_is_invalid_and_changes_nothing(rig: Rig) -> None:
    """Zalando's ScalingSchedule silently takes Berlin for a misspelt zone."""
    await rig.hpa()
    await rig.window(timeZones=["Europe/Moskow"])
    await rig.tick(INSIDE)
    status = await rig.condition("Ready")
    assert status[:2] == ("False", "InvalidSpec")
    assert "Europe/Moskow" in status[2]
    assert await rig.minimum() == 2


async def test_exceptions_come_from_a_config_map_and_must_reach_as_far_as_was_asked(rig: Rig) -> None:
    await rig.hpa()
    listed = "- {date: 2027-01-20, action: Override, minReplicas: 4}\n"
    await rig.make("api/v1 configmaps", {"metadata": {"name": "holidays"}, "data": {"exceptions.yaml": listed}})
    await rig.window(exceptionsFrom={"configMap": "holidays"})
    await rig.tick(INSIDE)
    assert await rig.minimum() == 4
    assert (await rig.condition("ExceptionsCurrent"))[0] == "True"
    await rig.tick(END)
    assert (await rig.condition("ExceptionsCurrent"))[0] == "True", "a past exception warns nobody for ever"
    await rig.edit(BW, "volga", {"spec": {"exceptionsReach": "45d"}})
    await rig.tick()
    assert (await rig.condition("ExceptionsCurrent"))[:2] == ("False", "ListRanOut")


async def test_a_rehearsal_is_shown_loudly(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    assert (await rig.status())["clock"].startswith("REHEARSAL")
    assert (await rig.condition("Rehearsal"))[0] == "True"
    assert all("REHEARSAL" in message for _, _, message in await rig.events())
