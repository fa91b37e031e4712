"""Whatever goes wrong, one tick afterwards leads to the right state, and no human's higher value was lowered."""

import asyncio

import pytest

from prescaler.loop import Loop
from unit.prescaler.rig import BW, END, HPA, INSIDE, LEAD, SPEC, START, KilledError, Rig


async def converged(rig: Rig, expected: int) -> None:
    """One tick of a new process, and a second one that finds nothing left to do."""
    rig.kube.fault = None
    rig.restart()
    await rig.tick()
    assert await rig.minimum() == expected
    status = await rig.status()
    assert (status["minReplicas"], status["appliedMinReplicas"]) == (expected, expected)
    rig.kube.writes.clear()
    await rig.tick()
    assert rig.kube.writes == []


async def killed_at(rig: Rig, number: int, *, after: bool) -> bool:
    """Whether there was such a write in the tick; the process dies right before or right after it."""
    seen = 0

    def fault(verb: str, path: str, done: bool) -> None:  # noqa: ARG001, FBT001 - the hook's form
        nonlocal seen
        if done is after:
            seen += 1
            if seen == number:
                raise KilledError

    rig.kube.fault = fault
    rig.restart()
    try:
        await rig.tick()
    except KilledError:
        return True
    finally:
        rig.kube.fault = None
    return False


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_every_write_of_the_way_up_and_down(rig: Rig, after: bool) -> None:  # noqa: FBT001 - a parameter
    for when, start, expected in ((LEAD, 2, 8), (END, 8, 2)):
        number = 0
        while True:
            number += 1
            name = f"energy-{expected}-{number}"
            await rig.hpa(name)
            await rig.window(name, targetRef={"name": name})
            rig.at(INSIDE if start == 8 else START.replace(day=5))
            rig.restart()
            await rig.tick()
            rig.at(when)
            died = await killed_at(rig, number, after=after)
            rig.restart()
            await rig.tick()
            assert await rig.minimum(name) == expected, (number, after)
            assert (await rig.status(name))["appliedMinReplicas"] == expected
            await rig.call("DELETE", f"{BW}/{name}")
            await rig.tick()
            await rig.call("DELETE", f"{HPA}/{name}")
            if not died:
                assert number > 3, "there were writes to die at"
                break


async def test_killed_at_every_write_of_a_deletion(rig: Rig) -> None:
    for after in (False, True):
        for number in (1, 2):
            await rig.hpa()
            await rig.window()
            await rig.tick(INSIDE)
            await rig.call("DELETE", f"{BW}/volga")
            assert await killed_at(rig, number, after=after)
            rig.restart()
            await rig.tick()
            assert await rig.minimum() == 2
            assert (await rig.call("GET", BW))["items"] == []
            await rig.call("DELETE", f"{HPA}/energy")


@pytest.mark.parametrize("status", [409, 410, 429, 500, 503, 0], ids=lambda s: str(s or "time-out"))
@pytest.mark.parametrize(
    "request_part",
    ["GET /apis/prescaler", "GET /apis/autoscaling", "PATCH /apis/autoscaling", "/volga/status", "POST /api/v1"],
)
async def test_the_api_answers_badly(rig: Rig, request_part: str, status: int) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick()
    rig.at(LEAD)
    rig.kube.answers.append((request_part, status, "1" if status == 429 else None))
    pause_s = await asyncio.create_task(rig.loop._turn())
    assert pause_s <= 1.0 or request_part.startswith("POST"), "it is tried again soon"
    assert not rig.kube.answers, "the fault was met"
    await rig.tick()
    assert await rig.minimum() == 8
    assert (await rig.status())["minReplicas"] == 8


async def test_a_precondition_that_fails_means_somebody_was_faster(rig: Rig) -> None:
    """The HPA changes between the list and the patch: the patch is refused, the next tick sees the human's value."""
    await rig.hpa()
    await rig.window()
    await rig.tick()
    edits: list[asyncio.Task[None]] = []
    real = rig.kube.transport

    async def meanwhile(
        verb: str, path: str, query: dict[str, str] | None, body: object
    ) -> tuple[int, bytes, str | None]:
        if verb == "PATCH" and "horizontal" in path and not edits:
            edits.append(asyncio.create_task(rig.set_minimum(15)))
            await edits[0]
        return await real(verb, path, query, body)

    rig.kube.transport = meanwhile  # type: ignore[method-assign]  # a fault is put in
    await rig.tick(LEAD)
    assert await rig.minimum() == 15
    await rig.tick()
    assert await rig.minimum() == 15, "a human's higher value"
    assert (await rig.condition("DriftDetected"))[1] == "HigherMinimumKept"


async def test_the_operator_was_down_for_the_whole_window(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(LEAD)
    rig.at(END)
    await converged(rig, 2)


async def test_the_operator_started_in_the_middle_of_a_window(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    rig.at(INSIDE)
    await converged(rig, 8)


async def test_the_hpa_is_deleted_and_recreated_mid_window(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.call("DELETE", f"{HPA}/energy")
    await rig.tick()
    assert (await rig.condition("Ready"))[1] == "TargetNotFound"
    await rig.hpa()
    await converged(rig, 8)


async def test_the_spec_is_edited_mid_ramp(rig: Rig) -> None:
    await rig.hpa()
    await rig.window(rampUp={"duration": "20m", "steps": 4})
    await rig.tick(LEAD.replace(hour=20, minute=21))
    assert await rig.minimum() == 5
    await rig.edit(BW, "volga", {"spec": {"windows": [{**SPEC["windows"][0], "minReplicas": 18}]}})
    await rig.tick()
    assert await rig.minimum() == 10
    await rig.tick(START)
    assert await rig.minimum() == 18


@pytest.mark.parametrize(("value", "wins"), [(2, False), (15, True)], ids=["a lower value", "a higher value"])
async def test_a_rival_reapplies_its_minimum_all_the_time(rig: Rig, value: int, wins: bool) -> None:  # noqa: FBT001 - parameter
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    for _ in range(5):
        await rig.set_minimum(value, manager="argocd")
        await rig.tick()
        assert await rig.minimum() == (value if wins else 8)
        status, _, message = await rig.condition("DriftDetected")
        assert status == "True"
        assert "argocd" in message
    drifts = [e for e in await rig.events() if "argocd" in e[2]]
    assert len(drifts) == 1, "it is said once, not every second"


async def test_two_operators_at_once_do_no_harm(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    other = Loop(rig.kube, rig.clock, namespaces=[rig.namespace])
    for when, expected in ((LEAD, 8), (INSIDE, 8), (END, 2)):
        rig.at(when)
        await asyncio.gather(rig.loop._turn(), other._turn())
        await asyncio.gather(rig.loop._turn(), other._turn())
        assert await rig.minimum() == expected
    assert len([e for e in await rig.events() if e[1] == "Active"]) == 1
