"""More than the database can take, and the end of the process in the middle of it: shed, settled, never lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fault.checker import Verdict, judge
from fault.history import Answer, History, events_in
from fault.load import Meters, client_session
from fault.proxy import Proxy
from fault.rounds import base_url, rows_of
from support.fixtures import StartProcess, StartService
from support.postgres import TestServer, execute
from support.service import Running
from tools.local.waiting import until


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    history = History(tmp_path / "history.jsonl")
    yield history
    history.close()


LONGER_THAN_THE_SERVICE_S = 60.0


def slow_down_inserts(dsn: str, seconds: float) -> None:
    """Every batch takes that long in the database."""
    execute(
        dsn,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$",
    )
    execute(dsn, "CREATE TRIGGER slow BEFORE INSERT ON readings FOR EACH STATEMENT EXECUTE FUNCTION slow()")


async def load(service: Running, history: History, rate_per_s: float, duration_s: float, seed: int = 1) -> None:
    async with client_session() as http:
        await Meters(http, lambda: base_url(service), history, seed).run(rate_per_s, duration_s)


def verdict_on(history: History, dsn: str) -> Verdict:
    history.sync()
    return judge(events_in(history.path), rows_of(dsn))


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"queue_rows_max": 20, "batch_rows_max": 10}, id="by count"),
        pytest.param({"queue_age_max_s": 0.1, "batch_rows_max": 10}, id="by age"),
    ],
)
async def test_what_is_too_much_is_shed_and_nothing_acknowledged_is_lost(
    start_service: StartService, database: str, history: History, settings: dict[str, Any]
) -> None:
    slow_down_inserts(database, 0.1)
    service = start_service(database, **settings)
    history.fired("slow database")
    await load(service, history, rate_per_s=600, duration_s=1.0)
    verdict = verdict_on(history, database)
    said = [event.said for event in events_in(history.path) if isinstance(event, Answer)]
    assert verdict.outcome == "passed", verdict
    assert said.count("503 overloaded") > 50
    assert verdict.unknown == 0


async def test_a_shed_request_is_told_when_to_come_back(start_service: StartService, database: str) -> None:
    slow_down_inserts(database, 0.3)
    service = start_service(database, queue_rows_max=1, batch_rows_max=1, lanes=1, retry_after_s=3)
    host, port = service.address
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
        body = {"device_id": "6f1c7d9e-7d5e-4c55-9d0b-000000000001", "value": 1}
        answers = await asyncio.gather(*(client.post("/v1/values", json=body) for _ in range(40)))
    shed = [answer for answer in answers if answer.status_code == 503]
    assert len(shed) > 30
    assert {answer.json()["code"] for answer in shed} == {"overloaded"}
    waits = {int(answer.headers["retry-after"]) for answer in shed}
    assert waits <= {1, 2, 3, 4, 5}
    assert len(waits) > 1, "clients that were refused together come back together"


@pytest.mark.parametrize("seed", [1, 2])
async def test_sigterm_in_the_middle_of_load_answers_everything_it_stores(
    start_process: StartProcess, database: str, history: History, seed: int
) -> None:
    slow_down_inserts(database, 0.25)  # so that something waits whenever the signal comes
    service = start_process(database_url=database)
    loading = asyncio.create_task(load(service, history, 400, LONGER_THAN_THE_SERVICE_S, seed))
    await asyncio.to_thread(until, lambda: len(rows_of(database)) > 20 * seed, "some load")
    history.fired("SIGTERM")
    service.terminate()
    code = await asyncio.to_thread(service.process.wait, 30)
    loading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loading
    verdict = verdict_on(history, database)
    assert code == 0
    assert verdict.outcome == "passed", verdict
    assert verdict.unknown > 0, "the service ended before the load did"
    assert verdict.stored_unacknowledged == 0
    assert "Traceback" not in service.output


def test_sigterm_without_a_database_ends_within_the_deadline(
    start_process: StartProcess, database: str, postgres: TestServer
) -> None:
    with Proxy(postgres.postgres.data_dir) as proxy:
        service = start_process(database_url=proxy.dsn(database), request_timeout_s=1, database_connect_timeout_s=1)
        proxy.refuse()
        service.terminate()
        assert service.process.wait(10) == 0
