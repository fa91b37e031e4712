"""The schedule that the tests of the planner speak about (the Volga district's), and the operator on an API in memory."""

from collections.abc import AsyncIterator
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web

from prescaler import metrics
from prescaler.plan.schedule import Action, Exemption, Peak, Ramp, Schedule, Window
from unit.prescaler.memory import MemoryApi
from unit.prescaler.rig import MemoryKube, Rig


@pytest.fixture
def volga() -> Schedule:
    return Schedule(
        baseline=2,
        zones=(ZoneInfo("Europe/Moscow"), ZoneInfo("Europe/Samara"), ZoneInfo("Asia/Yekaterinburg")),
        windows=(Window("monthly-billing", 15, 26, 8, peaks=(Peak(18 * 3600, 22 * 3600, 12),)),),
        lead_s=30 * 60,
        ramp_up=Ramp(20 * 60, 4),
        ramp_down=Ramp(3600, 2),
        exemptions=(Exemption(date(2027, 1, 26), Action.EXTEND, until=date(2027, 1, 28)),),
    )


@pytest.fixture
def memory() -> MemoryApi:
    return MemoryApi()


@pytest.fixture
async def rig(memory: MemoryApi) -> AsyncIterator[Rig]:
    """The suite of this folder runs in memory; tests/cluster/operator runs the same on a real API server."""
    yield Rig("district", MemoryKube(memory))
    metrics.forget_all()


@pytest.fixture
async def prometheus() -> AsyncIterator[str]:
    """Answers `query_range` as Prometheus does, with a peak of 1000 requests a second in the middle of what is asked."""

    async def query_range(request: web.Request) -> web.Response:
        start, end = float(request.query["start"]), float(request.query["end"])
        values = [[start, "120"], [(start + end) / 2, "1000"], [end, "NaN"]]
        result = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
        return web.json_response({"status": "success", "data": result})

    app = web.Application()
    app.router.add_get("/api/v1/query_range", query_range)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
