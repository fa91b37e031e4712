"""The floor from the past: read beside the passes, for every window, with the caps of now."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from unit.prescaler.rig import BW, INSIDE, LEAD, QUIET, Rig

QUERY = {"query": "sum(rate(x[5m]))", "requestsPerSecondPerPod": 100}


class Prometheus:
    """Answers `query_range` with a peak of 1000 requests per second, or with what a test puts here."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []
        self.answer: Any = None
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.url = ""

    async def query_range(self, request: web.Request) -> web.StreamResponse:
        start, end = float(request.query["start"]), float(request.query["end"])
        self.asked.append((start, end))
        await self.hangs.wait()
        if callable(self.answer):
            return self.answer()  # type: ignore[no-any-return]  # a test's
        values = [[start, "120"], [(start + end) / 2, "1000"], [end, "NaN"]]
        result = [{"metric": {}, "values": values}]
        return web.json_response(self.answer or {"status": "success", "data": {"result": result}})


@pytest.fixture
async def past() -> AsyncIterator[Prometheus]:
    prometheus = Prometheus()
    app = web.Application()
    app.router.add_get("/api/v1/query_range", prometheus.query_range)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    prometheus.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield prometheus
    prometheus.hangs.set()
    await runner.cleanup()


async def test_a_prometheus_that_hangs_delays_no_write(rig: Rig, past: Prometheus) -> None:
    past.hangs.clear()
    for number in range(41):
        await rig.hpa(f"h{number}")
        await rig.window(
            f"w{number}", targetRef={"name": f"h{number}"}, replay={**QUERY, "url": past.url, "query": f"x{number}"}
        )
    rig.at(INSIDE)
    async with asyncio.timeout(20):  # waiting for all of them would take 26 s: 5 s each, eight at a time
        await rig.loop.tick()
    assert [await rig.minimum(f"h{number}") for number in range(41)] == [8] * 41
    assert (await rig.condition("ReplayAvailable", "w0"))[:2] == ("Unknown", "NotReadYet")
    await rig.loop._peaks.close()


async def test_every_window_is_read_for_before_its_lead_time(rig: Rig, past: Prometheus) -> None:
    await rig.hpa(high=40)
    nested = [
        {"name": "long", "fromDay": 10, "toDay": 28, "minReplicas": 3},
        {"name": "inside", "fromDay": 15, "toDay": 16, "minReplicas": 4},
        {"name": "after", "fromDay": 21, "toDay": 26, "minReplicas": 5},
    ]
    await rig.window(windows=nested, replay={**QUERY, "url": past.url})
    await rig.tick(QUIET)
    records = (await rig.status())["replay"]
    assert sorted(r["window"] for r in records) == ["after", "inside", "long"]
    await rig.tick(LEAD)
    assert await rig.minimum() == 10
    assert len(past.asked) == 3
    rig.restart()
    await rig.tick()
    assert len(past.asked) == 3, "what was read is in the status"


async def test_a_changed_query_is_asked_anew_and_a_changed_cap_acts_at_once(rig: Rig, past: Prometheus) -> None:
    await rig.hpa(high=60)
    await rig.window(replay={**QUERY, "url": past.url, "requestsPerSecondPerPod": 20})
    await rig.tick(INSIDE)
    assert await rig.minimum() == 50
    await rig.edit(BW, "volga", {"spec": {"replay": {"maxMinReplicas": 10}}})
    await rig.tick()
    assert await rig.minimum() == 10
    assert len(past.asked) == 1
    await rig.edit(BW, "volga", {"spec": {"replay": {"query": "sum(y)"}}})
    await rig.tick()
    assert len(past.asked) == 2


async def test_the_next_occurrence_is_read_for_when_one_is_over(rig: Rig, past: Prometheus) -> None:
    await rig.hpa(high=40)
    await rig.window(replay={**QUERY, "url": past.url})
    await rig.tick(INSIDE)
    await rig.tick(INSIDE + timedelta(days=10))
    (record,) = (await rig.status())["replay"]
    assert (record["start"], record["from"]) == ("2027-02-14T21:00:00Z", "2027-01-14T21:00:00Z")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(
            {"status": "success", "data": {"result": [{"values": [[0, "1"]]}] * 2}}, "gives 2 series", id="two series"
        ),
        pytest.param({"status": "success", "data": {"result": []}}, "has no data", id="none"),
        pytest.param(
            {"status": "success", "data": {"result": [{"values": [[0, "secret"]]}]}}, "has no data", id="no number"
        ),
        pytest.param({"status": "error", "error": "secret"}, "refuses the query", id="an error"),
        pytest.param(lambda: web.Response(text="<secret>"), "doesn't answer like Prometheus", id="not Prometheus"),
        pytest.param(lambda: web.Response(body=b"x" * 5_000_000), "doesn't answer like Prometheus", id="too much"),
        pytest.param(
            lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/secret"}),
            "doesn't answer like Prometheus",
            id="elsewhere",
        ),
    ],
)
async def test_an_answer_that_is_none_is_said_without_quoting_it(
    rig: Rig, past: Prometheus, answer: Any, words: str
) -> None:
    past.answer = answer
    await rig.hpa()
    await rig.window(replay={**QUERY, "url": past.url})
    await rig.tick(INSIDE)
    kind, reason, message = await rig.condition("ReplayAvailable")
    assert (kind, reason) == ("False", "NoData")
    assert words in message
    assert "secret" not in message
    assert await rig.minimum() == 8


@pytest.mark.parametrize(
    "allowed",
    [
        pytest.param("http://prometheus.monitoring:9090", id="another host"),
        pytest.param("http://user", id="a user that looks like the host"),
        pytest.param("http://127.0.0.1:9", id="a port that only begins alike"),
        pytest.param("{url}/team", id="a path of somebody else's"),
    ],
)
async def test_only_the_allowed_addresses_are_asked(rig: Rig, past: Prometheus, allowed: str) -> None:
    rig.restart(replay_urls=[allowed.format(url=past.url)])
    await rig.hpa()
    url = {"http://user": past.url.replace("//", "//user@"), "{url}/team": f"{past.url}/team-b"}.get(allowed, past.url)
    await rig.window(replay={**QUERY, "url": url})
    await rig.tick(INSIDE)
    assert "may not ask" in (await rig.condition("ReplayAvailable"))[2]
    assert past.asked == []


async def test_what_nobody_asks_for_any_more_is_forgotten(rig: Rig, past: Prometheus) -> None:
    await rig.hpa()
    await rig.window(replay={**QUERY, "url": past.url})
    for number in range(5):
        await rig.edit(BW, "volga", {"spec": {"replay": {"query": f"x{number}"}}})
        await rig.tick(INSIDE)
    await rig.tick()
    assert [question.query for question in rig.loop._peaks._held] in ([], ["x4"])
