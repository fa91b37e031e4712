"""A ScaledObject of KEDA as the target: its minReplicaCount is raised and given back, and nothing else of it."""

import pytest

from unit.prescaler.rig import BW, END, INSIDE, LEAD, QUIET, SCALED_OBJECT, Rig

REF = {"kind": "ScaledObject", "name": "energy"}


async def low(rig: Rig) -> int | None:
    found: int | None = (await rig.get(SCALED_OBJECT, "energy"))["spec"].get("minReplicaCount")
    return found


async def test_a_scaled_object_is_raised_and_given_back(rig: Rig) -> None:
    await rig.scaled_object()
    await rig.window(targetRef=REF)
    await rig.tick(QUIET)
    assert await low(rig) == 2
    await rig.tick(LEAD)
    assert await low(rig) == 8
    assert (await rig.condition("Ready"))[:2] == ("True", "Applied")
    await rig.tick(END)
    assert await low(rig) == 2


async def test_a_scaled_object_may_rest_at_zero(rig: Rig) -> None:
    await rig.scaled_object(low=None)
    await rig.window(targetRef=REF, baseline={"minReplicas": 0})
    await rig.tick(QUIET)
    assert await low(rig) in {None, 0}
    await rig.tick(LEAD)
    assert await low(rig) == 8
    await rig.tick(END)
    assert await low(rig) == 0


async def test_a_higher_count_that_a_person_set_stays(rig: Rig) -> None:
    await rig.scaled_object()
    await rig.window(targetRef=REF)
    await rig.tick(INSIDE)
    await rig.edit(SCALED_OBJECT, "energy", {"spec": {"minReplicaCount": 12}})
    await rig.tick()
    assert await low(rig) == 12
    assert (await rig.condition("DriftDetected"))[1] == "HigherMinimumKept"
    await rig.tick(END)
    assert await low(rig) == 12


async def test_the_maximum_count_is_the_limit(rig: Rig) -> None:
    await rig.scaled_object(high=5)
    await rig.window(targetRef=REF)
    await rig.tick(INSIDE)
    assert await low(rig) == 5
    assert (await rig.condition("Ready"))[:2] == ("True", "Clamped")


async def test_a_paused_scaled_object_is_left_alone(rig: Rig) -> None:
    await rig.scaled_object(annotations={"autoscaling.keda.sh/paused-replicas": "3"})
    await rig.window(targetRef=REF)
    await rig.tick(INSIDE)
    assert await low(rig) == 2
    assert (await rig.condition("Ready"))[:2] == ("False", "TargetPaused")


async def test_without_keda_the_object_says_so_and_others_are_served(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.window("keda", targetRef=REF)
    rig.kube.always["GET /apis/keda.sh"] = 404
    await rig.tick(INSIDE)
    assert await rig.minimum() == 8
    assert (await rig.condition("Ready", "keda"))[:2] == ("False", "TargetUnreadable")


@pytest.mark.parametrize("first", [True, False], ids=["from the HPA to the ScaledObject", "and back"])
async def test_the_target_is_changed_from_one_kind_to_the_other(rig: Rig, first: bool) -> None:  # noqa: FBT001 - a parameter
    await rig.hpa()
    await rig.scaled_object()
    hpa = {"kind": "HorizontalPodAutoscaler", "name": "energy"}
    before, after = (hpa, REF) if first else (REF, hpa)
    await rig.window(targetRef=before)
    await rig.tick(INSIDE)
    await rig.edit(BW, "volga", {"spec": {"targetRef": after}})
    await rig.tick()
    assert (await rig.minimum(), await low(rig)) == ((2, 8) if first else (8, 2))
