"""drift × bounds × mode × rival × target × what failed: each combination against a model of a few lines.

The model says what the minimum is to be in an open window, after it, and what is to be said; it shares nothing with the
operator but the words.
"""

from itertools import product
from typing import Any, NamedTuple

import pytest

from unit.prescaler.rig import BW, END, HPA, INSIDE, SPEC, Rig

PLAN, BASELINE = 8, 2


class Case(NamedTuple):
    drift: str  # the policy
    human: int | None  # what somebody sets in the open window
    maximum: int
    bounds: str  # the policy
    mode: str
    rival: bool  # an older BillingWindow acts on the same target
    target: str
    failure: int | None


CASES = [
    Case(*each)
    for each in product(
        ("Raise", "Enforce"), (None, 3, 12), (6, 20), ("Clamp", "Fail"), ("Active", "Preview", "Suspended"), (False, True),
        ("scales", "at zero", "of KEDA"), (None, 500),
    )
    if (each[1] or 0) <= each[2]
]  # fmt: skip


def acts(case: Case) -> bool:
    return case.mode == "Active" and not case.rival


def expected(case: Case, found: int, wanted: int) -> int:
    """The minimum after a look that found `found`."""
    asked = min(wanted, case.maximum)
    if case.target == "of KEDA" or (case.target == "at zero" and asked > found):
        return found
    if asked < wanted and case.bounds == "Fail":
        return found
    somebodys = case.human is not None and found == case.human
    return found if case.drift == "Raise" and somebodys and found > asked else asked


def reason(case: Case, found: int) -> str:
    """The first of these that is so."""
    asks_for_more = min(PLAN, case.maximum) > found
    reasons = {
        "Suspended": case.mode == "Suspended",
        "Preview": case.mode == "Preview",
        "Conflicted": case.rival,
        "OwnedByKeda": case.target == "of KEDA",
        "TargetAtZero": case.target == "at zero" and asks_for_more,
        "MaxReplicasTooLow": case.maximum < PLAN and case.bounds == "Fail",
        "Clamped": case.maximum < PLAN,
        "Applied": True,
    }
    return next(reason for reason, holds in reasons.items() if holds)


async def prepared(rig: Rig, case: Case) -> None:
    labels = {"app.kubernetes.io/managed-by": "keda-operator"} if case.target == "of KEDA" else {}
    await rig.hpa(high=case.maximum, labels=labels)
    if case.target == "at zero":
        off = {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled", "message": "0 replicas"}
        await rig.edit(
            HPA, "energy/status", {"status": {"currentReplicas": 0, "desiredReplicas": 0, "conditions": [off]}}
        )
    policies: dict[str, Any] = {"driftPolicy": case.drift, "maxReplicasPolicy": case.bounds}
    if case.rival:  # asks for nothing in this month: it only has the target
        await rig.window("a-rival", windows=[{**SPEC["windows"][0], "fromDay": 1, "toDay": 2}], **policies)
        await rig.tick(INSIDE)
    await rig.window(mode=case.mode, **policies)


@pytest.mark.parametrize("mode", ["Active", "Preview", "Suspended"])
@pytest.mark.parametrize("target", ["scales", "at zero", "of KEDA"])
async def test_each_combination_is_what_the_model_says(rig: Rig, mode: str, target: str) -> None:
    for case in (case for case in CASES if (case.mode, case.target) == (mode, target)):
        await prepared(rig, case)
        await rig.tick(INSIDE)
        if case.human is not None:
            await rig.set_minimum(case.human)
        if case.failure is not None:
            rig.kube.always["PATCH /apis/autoscaling"] = case.failure
            await rig.tick()
            await rig.tick()
            if acts(case) and expected(case, await rig.minimum(), PLAN) != await rig.minimum():
                assert (await rig.condition("Ready"))[1] == "WriteFailed", case
            rig.kube.always.clear()
        await rig.tick()
        found = case.human if case.human is not None else await rig.minimum()
        if acts(case):
            assert await rig.minimum() == expected(case, found if case.human is not None else BASELINE, PLAN), case
        elif not case.rival:
            assert await rig.minimum() == (case.human or BASELINE), case
        assert (await rig.condition("Ready"))[1] == reason(case, found), case
        found = await rig.minimum()
        await rig.tick(END)
        if acts(case):
            assert await rig.minimum() == expected(case, found, BASELINE), case
        for name in ("volga", "a-rival") if case.rival else ("volga",):
            await rig.delete(BW, name)
            await rig.tick()
        assert (await rig.call("GET", BW))["items"] == [], case
        await rig.delete(HPA, "energy")
