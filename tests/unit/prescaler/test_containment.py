"""Whatever one object, list, namespace or target does costs that object only, and is said on it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from prescaler import metrics
from prescaler.kube import client as k
from prescaler.kube.lease import LeaderLease
from prescaler.loop import Loop
from unit.prescaler.rig import BW, INSIDE, LEAD, Rig

CONFIG_MAPS = "api/v1 configmaps"


async def healthy(rig: Rig) -> None:
    """An object that must be served whatever the one beside it does."""
    await rig.hpa("healthy")
    await rig.window("healthy", targetRef={"name": "healthy"})


async def listed(rig: Rig, text: str) -> None:
    await rig.make(CONFIG_MAPS, {"metadata": {"name": "holidays"}, "data": {"exceptions.yaml": text}})
    await rig.hpa()
    await rig.window(exceptionsFrom={"configMap": "holidays"})


def said(status: int) -> str:
    """200 is what a proxy in between makes up: an answer, and none of Kubernetes."""
    return {0: "time-out", 200: "a page of HTML"}.get(status, str(status))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("- {date: 2027-02-30, action: Skip}", id="a day that no calendar has"),
        pytest.param("- {date: 2027-13-01, action: Skip}", id="a month that no calendar has"),
        pytest.param("[" * 5000, id="brackets without end"),
        pytest.param("- &a [*a]", id="a list in itself"),
        pytest.param("- {date: '0001-01-01', action: Extend, until: '9999-12-31'}", id="for ever"),
        pytest.param("- {date: 2027-01-20, action: Override}", id="no target"),
        pytest.param("- {date: 2027-01-20, action: Extend, until: 2027-01-10}", id="ends before it begins"),
        pytest.param("{}}", id="no YAML"),
        pytest.param("- !!python/object:os.system {}", id="code"),
        pytest.param("- \x01", id="a control character"),
        pytest.param("x" * 300_000, id="too long"),
    ],
)
async def test_a_list_that_cannot_be_read_costs_its_window_the_exceptions_only(rig: Rig, text: str) -> None:
    await healthy(rig)
    await listed(rig, text)
    await rig.tick(INSIDE)
    assert await rig.minimum("healthy") == 8
    assert await rig.minimum() == 8, "the windows are open on their usual days"
    assert (await rig.condition("ExceptionsCurrent"))[:2] == ("False", "ListInvalid")
    assert "ListInvalid" in await rig.warnings()


@pytest.mark.parametrize("status", [403, 404, 429, 500, 0, 200], ids=said)
async def test_a_config_map_that_is_refused_costs_its_window_the_exceptions_only(rig: Rig, status: int) -> None:
    await healthy(rig)
    await listed(rig, "- {date: 2027-01-20, action: Override, minReplicas: 4}")
    rig.kube.always["configmaps/holidays"] = status
    await rig.tick(INSIDE)
    assert (await rig.minimum("healthy"), await rig.minimum()) == (8, 8)
    kind, reason, _ = await rig.condition("ExceptionsCurrent")
    assert (kind, reason) == ("False", "ListNotFound" if status == 404 else "ListUnreadable")
    rig.kube.always.clear()
    await rig.tick(INSIDE + timedelta(minutes=1))
    assert await rig.minimum() == 4
    assert (await rig.condition("ExceptionsCurrent"))[0] == "True"


async def test_a_list_that_was_read_once_outlives_a_failure_to_read_it_again(rig: Rig) -> None:
    await listed(rig, "- {date: 2027-01-20, action: Override, minReplicas: 4}")
    await rig.tick(INSIDE)
    rig.kube.always["configmaps/holidays"] = 500
    await rig.tick()
    assert await rig.minimum() == 4
    assert (await rig.condition("ExceptionsCurrent"))[1] == "ListUnreadable"


@pytest.mark.parametrize("status", [403, 500, 0, 200], ids=said)
async def test_a_namespace_that_cannot_be_listed_costs_that_namespace_only(rig: Rig, status: int) -> None:
    await rig.hpa()
    await rig.window()
    rig.restart(namespaces=[rig.namespace, "gone"])
    rig.kube.always["namespaces/gone/billingwindows"] = status
    await rig.tick(INSIDE)
    assert await rig.minimum() == 8
    assert metrics.UNSEEN._value.get() == 1


@pytest.mark.parametrize("status", [403, 500, 0, 200], ids=said)
async def test_targets_that_cannot_be_listed_are_said_and_looked_at_again(rig: Rig, status: int) -> None:
    await rig.hpa()
    await rig.window()
    rig.kube.always["GET /apis/autoscaling"] = status
    await rig.tick(INSIDE)
    assert (await rig.condition("Ready"))[:2] == ("False", "TargetUnreadable")
    assert await rig.loop._turn() <= 4, "soon, with back-off"
    rig.kube.always.clear()
    await rig.tick()
    assert await rig.minimum() == 8


@pytest.mark.parametrize("part", ["/apis/autoscaling/", "billingwindows/volga"], ids=["the target", "the finalizer"])
@pytest.mark.parametrize("status", [409, 429, 500, 503, 403, 422, 0, 200], ids=said)
async def test_a_write_that_keeps_failing_is_said_and_measured(rig: Rig, part: str, status: int) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick()
    real = rig.kube.transport

    async def refusing(verb: str, path: str, query: Any, body: Any) -> tuple[int, bytes, str | None]:
        if part in path and verb == "PATCH" and not path.endswith("/status") and query["fieldManager"] == "prescaler":
            if status == 0:
                raise TimeoutError
            return status, b'{"message": "no"}', None
        return await real(verb, path, query, body)

    rig.kube.transport = refusing  # type: ignore[method-assign]  # a fault is put in
    await rig.tick(INSIDE)
    await rig.tick()
    word, reason, message = await rig.condition("Ready")
    assert (word, reason) == ("False", "WriteRefused" if status in {403, 422} else "WriteFailed")
    assert {0: "no answer", 200: "not an answer"}.get(status, str(status)) in message
    assert (await rig.status())["appliedMinReplicas"] == 2
    assert reason in await rig.warnings()
    assert metrics.objects.figures[rig.namespace, "volga"]["condition", "Ready"] == 0
    rig.kube.transport = real  # type: ignore[method-assign]  # and taken out again
    await rig.tick()
    assert await rig.minimum() == 8
    assert (await rig.condition("Ready"))[:2] == ("True", "Applied")
    assert "ReadyAgain" in [reason for _, reason, _ in await rig.events()]


async def test_an_object_that_fails_is_retried_with_back_off_and_an_edit_is_a_fresh_start(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick()
    rig.kube.always["PATCH /apis/autoscaling"] = 500
    rig.at(INSIDE)
    pauses = []
    for _ in range(8):
        pauses.append(await rig.loop._turn())
        rig.monotonic_s += pauses[-1]
    assert pauses == [1, 2, 4, 8, 10, 6, 10, 10], "after 1, 2, 4, 8, 16 and 32 seconds; others are looked at every ten"
    tries = len([w for w in rig.kube.writes if "horizontal" in w])
    await rig.edit(BW, "volga", {"spec": {"leadTime": "31m"}})
    rig.kube.always.clear()
    await rig.loop._turn()
    assert len([w for w in rig.kube.writes if "horizontal" in w]) == tries + 1
    assert await rig.minimum() == 8


async def test_one_target_that_times_out_does_not_starve_the_rest(rig: Rig) -> None:
    for number in range(45):
        await rig.hpa(f"h{number:02}")
        await rig.window(f"w{number:02}", targetRef={"name": f"h{number:02}"})
    rig.kube.always[f"PATCH /apis/autoscaling/v2/namespaces/{rig.namespace}/horizontalpodautoscalers/h07"] = 0
    await rig.tick(INSIDE)
    raised = [await rig.minimum(f"h{number:02}") for number in range(45)]
    assert raised == [2 if number == 7 else 8 for number in range(45)]


@pytest.mark.parametrize("annotation", ["lots", "{}", '{"kind": "x"}', "[" * 5000, "null"])
async def test_a_garbage_annotation_does_not_keep_a_window_from_being_deleted(rig: Rig, annotation: str) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    note = {"metadata": {"annotations": {"prescaler.energy-readings.dev/raised": annotation}}}
    await rig.edit(BW, "volga", note)
    await rig.delete(BW, "volga")
    await rig.tick()
    assert await rig.minimum() == 2
    assert (await rig.call("GET", BW))["items"] == []


async def test_a_defect_of_the_operator_is_said_on_the_object_it_shows_in(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await healthy(rig)
    await rig.hpa()
    await rig.window()
    real = rig.loop._look.__globals__["assess"]

    def broken(window: Any, world: Any, now: Any) -> Any:
        if window.metadata.name == "volga":
            raise ZeroDivisionError("a mistake")
        return real(window, world, now)

    monkeypatch.setattr("prescaler.loop.assess", broken)
    await rig.tick(INSIDE)
    assert await rig.minimum("healthy") == 8
    assert (await rig.condition("Ready"))[:2] == ("False", "OperatorError")


async def test_only_the_leader_writes_and_shows_figures(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    clocks = {"a": 0.0, "b": 0.0}
    first = LeaderLease(rig.kube, rig.namespace, "a", monotonic=lambda: clocks["a"])
    second = LeaderLease(rig.kube, rig.namespace, "b", monotonic=lambda: clocks["b"])
    leader = Loop(rig.kube, rig.clock, namespaces=[rig.namespace], lease=first, monotonic=lambda: clocks["a"])
    other = Loop(rig.kube, rig.clock, namespaces=[rig.namespace], lease=second, monotonic=lambda: clocks["b"])
    metrics.follow(leader.leads)
    rig.at(LEAD)
    await leader._turn()
    assert [s.name for family in metrics.objects.collect() for s in family.samples]
    clocks["a"] += 31
    assert not [s.name for family in metrics.objects.collect() for s in family.samples], "its Lease has run out"
    assert next(iter(metrics.LEADER.collect())).samples[0].value == 0
    await other._turn()
    clocks["b"] += 31
    await other._turn()
    await leader._turn()  # it doesn't get the Lease back
    assert metrics.objects.figures == {}, "the figures of who led before are gone"
    metrics.follow(lambda: True)


async def test_a_lease_is_kept_while_a_pass_takes_long(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    lease = LeaderLease(rig.kube, rig.namespace, "a", monotonic=lambda: now)
    assert await lease.acquire()
    monkeypatch.setattr("prescaler.kube.lease.RENEW_S", 0)
    keeper = asyncio.create_task(lease.keep())
    for _ in range(5):
        now += 20
        async with asyncio.timeout(5):
            while not lease.held() or lease._renew_at <= now - 1:  # noqa: ASYNC110 - nothing tells of a renewal
                await asyncio.sleep(0)
    keeper.cancel()


async def test_an_api_server_that_is_away_ends_the_pass_and_not_the_loop(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    rig.kube.always["GET /apis/prescaler"] = 0
    with pytest.raises(k.KubeError):
        await rig.loop.tick()
    assert await rig.loop._turn() == 1
    rig.kube.always.clear()
    await rig.tick(INSIDE)
    assert await rig.minimum() == 8


@pytest.mark.parametrize(
    "asked", ["86400", "9" * 400, "\u00b2", "-1", "soon"], ids=["a day", "for ever", "²", "-1", "soon"]
)
async def test_an_answer_decides_for_a_minute_at_most_how_long_nobody_looks(rig: Rig, asked: str) -> None:
    await rig.hpa()
    await rig.window()
    rig.kube.answers.append(("GET /apis/prescaler", 429, asked))
    assert await rig.loop._turn() <= 60
    await rig.tick(INSIDE)
    assert await rig.minimum() == 8


@pytest.mark.parametrize("mode", ["Preview", "Suspended"])
async def test_what_does_not_act_shows_no_figures_that_could_page_anybody(rig: Rig, mode: str) -> None:
    await rig.hpa(high=5)
    await rig.window(mode=mode)
    await rig.tick(INSIDE)
    assert metrics.objects.figures[rig.namespace, "volga"] == {("acting",): 0}
    assert "NotReadyAtStart" not in await rig.warnings()


async def test_what_is_invalid_from_birth_or_after_an_edit_is_measured(rig: Rig) -> None:
    await rig.hpa()
    await rig.window(timeZones=["Europe/Moskow"])
    await rig.tick(INSIDE)
    assert metrics.objects.figures[rig.namespace, "volga"]["condition", "Ready"] == 0
    await rig.edit(BW, "volga", {"spec": {"timeZones": ["Europe/Moscow"]}})
    await rig.tick()
    assert metrics.objects.figures[rig.namespace, "volga"]["condition", "Ready"] == 1
    await rig.edit(BW, "volga", {"spec": {"timeZones": ["Europe/Moskow"]}})
    await rig.tick()
    figures = metrics.objects.figures[rig.namespace, "volga"]
    assert figures == {("acting",): 1, ("condition", "Ready"): 0, ("condition", "Rehearsal"): 1}


async def test_twenty_overwrites_in_an_hour_are_one_condition_and_one_event(rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    rig.kube.writes.clear()
    at = INSIDE
    for number in range(20):
        await rig.set_minimum(2, manager="argocd")
        await rig.tick(at := at + timedelta(minutes=1))
        assert await rig.minimum() == 8
        await rig.tick(at := at + timedelta(minutes=1))
        await rig.tick(at := at + timedelta(minutes=1))
        assert (await rig.condition("DriftDetected"))[:2] == ("True", "Overwritten"), number
    assert [m for _, reason, m in await rig.events() if reason == "Overwritten"] == [
        "[REHEARSAL] argocd had set the minimum to 2; it is 8 again"
    ]
    at_real_times = [w for w in rig.kube.writes if w.endswith("/status")]
    assert len(at_real_times) <= 60, "the clock's sentence of a rehearsal changes with every jump"
    await rig.tick(at + timedelta(minutes=40))
    assert (await rig.condition("DriftDetected"))[0] == "False"
