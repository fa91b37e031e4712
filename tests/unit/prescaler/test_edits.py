"""Whatever is edited in whatever state, no target stays at a raised minimum: after the window at the latest it is given back."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from prescaler.kube.objects import FINALIZER
from unit.prescaler.rig import BW, END, HPA, INSIDE, LEAD, SPEC, START, KilledError, Rig

Edit = Callable[[Rig], Awaitable[None]]
OTHER = {"kind": "HorizontalPodAutoscaler", "name": "other"}


def to(**spec: Any) -> Edit:
    async def edit(rig: Rig) -> None:
        await rig.edit(BW, "volga", {"spec": spec})

    return edit


async def tick(rig: Rig, when: datetime | None = None) -> None:
    try:
        await rig.tick(when)
    except KilledError:
        rig.restart()
        await rig.tick()


async def deleted(rig: Rig) -> None:
    await rig.delete(BW, "volga")


async def invalid_then_deleted(rig: Rig) -> None:
    await to(timeZones=["Europe/Moskow"])(rig)
    await tick(rig)
    await rig.delete(BW, "volga")


async def renamed_then_deleted(rig: Rig) -> None:
    await to(targetRef=OTHER)(rig)
    await rig.delete(BW, "volga")


EDITS = {
    "target changed": to(targetRef=OTHER),
    "target changed to nothing": to(targetRef={"kind": "HorizontalPodAutoscaler", "name": "nowhere"}),
    "preview": to(mode="Preview"),
    "suspended": to(mode="Suspended"),
    "invalid": to(timeZones=["Europe/Moskow"]),
    "window moved away": to(windows=[{**SPEC["windows"][0], "fromDay": 1, "toDay": 2}]),
    "window lowered": to(windows=[{**SPEC["windows"][0], "minReplicas": 4}]),
    "baseline lowered": to(baseline={"minReplicas": 1}),
    "fail": to(maxReplicasPolicy="Fail"),
    "enforce": to(driftPolicy="Enforce"),
    "deleted": deleted,
    "invalid, then deleted": invalid_then_deleted,
    "target changed, then deleted": renamed_then_deleted,
}
BASELINES = {"baseline lowered": 1}


async def as_it_is(rig: Rig) -> None:
    pass


async def restarted(rig: Rig) -> None:
    rig.restart()


async def at_zero(rig: Rig) -> None:
    off = {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled", "message": "0 replicas"}
    await rig.edit(HPA, "energy/status", {"status": {"currentReplicas": 0, "desiredReplicas": 0, "conditions": [off]}})


async def maximum_lowered(rig: Rig) -> None:
    await rig.edit(HPA, "energy", {"spec": {"minReplicas": 5, "maxReplicas": 5}}, "prescaler")


async def failing_once(rig: Rig) -> None:
    rig.kube.answers.append(("PATCH /apis/autoscaling", 500, None))


async def killed(rig: Rig) -> None:
    def fault(verb: str, path: str, done: bool) -> None:  # noqa: FBT001 - the hook's form
        if done and verb == "PATCH":
            rig.kube.fault = None
            raise KilledError(path)

    rig.kube.fault = fault


STATES: dict[str, Edit] = {
    "as it is": as_it_is,
    "restarted in between": restarted,
    "target at zero": at_zero,
    "maximum lowered": maximum_lowered,
    "first write fails": failing_once,
    "killed after a write": killed,
}


@pytest.mark.parametrize("since", [LEAD, START, INSIDE], ids=["lead time", "start", "open"])
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("name", EDITS)
async def test_no_edit_leaves_a_target_raised(rig: Rig, name: str, state: Edit, since: datetime) -> None:
    await rig.hpa()
    await rig.hpa("other")
    await rig.window()
    await rig.tick(since)
    assert await rig.minimum() == 8
    await state(rig)
    await EDITS[name](rig)
    await tick(rig)
    await tick(rig, since + timedelta(minutes=5))
    await tick(rig, END)
    await tick(rig, END + timedelta(minutes=5))
    assert await rig.minimum() == BASELINES.get(name, 2)
    assert await rig.minimum("other") == 2
    for left in (await rig.call("GET", BW))["items"]:
        assert FINALIZER not in left["metadata"].get("finalizers", [])
        assert not left["metadata"].get("annotations")
    assert ("deleted" in name) == ((await rig.call("GET", BW))["items"] == [])


async def test_a_deleted_window_and_a_changed_target_are_given_back_at_once(rig: Rig) -> None:
    await rig.hpa()
    await rig.hpa("other")
    await rig.window()
    await rig.tick(INSIDE)
    await to(targetRef=OTHER)(rig)
    await rig.tick()
    assert (await rig.minimum(), await rig.minimum("other")) == (2, 8)
    await rig.delete(BW, "volga")
    await rig.tick()
    assert await rig.minimum("other") == 2


@pytest.mark.parametrize("name", ["preview", "suspended", "invalid"])
async def test_what_no_longer_acts_keeps_its_raise_to_the_end_and_says_so(rig: Rig, name: str) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await EDITS[name](rig)
    await rig.tick()
    assert await rig.minimum() == 8, "nobody loses pods in the rush because of an edit"
    assert "stays until 2027-01-26 21:00 UTC" in (await rig.condition("Ready"))[2]


async def test_the_hpa_is_gone_when_the_window_is_deleted(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.delete(HPA, "energy")
    await rig.delete(BW, "volga")
    await rig.tick()
    assert (await rig.call("GET", BW))["items"] == []


async def test_a_persons_higher_value_stays_whatever_is_edited(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.set_minimum(15)
    await rig.delete(BW, "volga")
    await rig.tick()
    assert await rig.minimum() == 15
    assert (await rig.call("GET", BW))["items"] == []


@pytest.mark.parametrize("mode", ["Suspended", "Preview"])
async def test_an_older_window_that_does_not_act_takes_nothing_from_a_younger(rig: Rig, mode: str) -> None:
    await rig.hpa()
    await rig.window("older")
    await rig.tick(INSIDE)
    await rig.edit(BW, "older", {"spec": {"mode": mode}})
    await rig.window("younger", windows=[{**SPEC["windows"][0], "minReplicas": 11}])
    await rig.tick()
    assert await rig.minimum() == 11
    await rig.delete(BW, "older")
    await rig.tick()
    await rig.delete(BW, "younger")
    await rig.tick()
    assert await rig.minimum() == 2
    assert (await rig.call("GET", BW))["items"] == []


async def test_a_list_that_fails_does_not_let_a_deleted_window_go_before_its_target(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.delete(BW, "volga")
    rig.kube.always["GET /apis/autoscaling"] = 500
    await rig.tick()
    assert len((await rig.call("GET", BW))["items"]) == 1
    rig.kube.always.clear()
    await rig.tick()
    assert await rig.minimum() == 2
    assert (await rig.call("GET", BW))["items"] == []


@pytest.mark.parametrize("verb", ["GET", "PATCH"])
async def test_a_refusal_to_give_back_is_told_and_wedges_no_deletion(rig: Rig, verb: str) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.delete(BW, "volga")
    rig.kube.always[f"{verb} /apis/autoscaling"] = 403
    await rig.tick()
    assert (await rig.call("GET", BW))["items"] == []
    assert "NotGivenBack" in await rig.warnings()
