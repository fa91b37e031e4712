"""Never two database writes in flight for /v2/values: watched from inside the database."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from energy.ingest.queue import QueueLimits
from fault import mutants
from support.fixtures import StartService
from support.postgres import execute, query

_WATCH = """
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NOT pg_try_advisory_xact_lock(1) THEN PERFORM nextval('collisions'); END IF;
  PERFORM pg_sleep(0.005);
  RETURN NULL;
END $$
"""
"""The lock is held to the end of the transaction: who finds it taken overlaps with another write, and leaves a trace that
outlives a rollback."""


def watch_writes(dsn: str) -> None:
    execute(dsn, "CREATE SEQUENCE collisions")
    execute(dsn, _WATCH)
    execute(dsn, "CREATE TRIGGER watch BEFORE INSERT ON readings FOR EACH STATEMENT EXECUTE FUNCTION watch()")


def overlaps(dsn: str) -> int:
    return int(query(dsn, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM collisions")[0][0])


async def overlaps_under_load(start_service: StartService, dsn: str, path: str, **settings: Any) -> int:
    """Posts from many clients at once, as fast as each is answered."""
    watch_writes(dsn)
    host, port = start_service(dsn, **settings).address

    async def meter(client: httpx.AsyncClient) -> None:
        for value in range(10):
            answer = await client.post(path, json={"device_id": str(uuid4()), "value": value})
            assert answer.status_code == 201

    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
        await asyncio.gather(*(meter(client) for _ in range(20)))
    assert query(dsn, "SELECT count(*) FROM readings")[0][0] == 200
    return overlaps(dsn)


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        pytest.param("/v2/values", {}, id="the ordered API"),
        pytest.param(
            "/v2/values", {"write_strategy": "parallel", "lanes": 8}, id="the ordered API beside parallel writes"
        ),
        pytest.param("/v1/values", {"write_strategy": "sequential"}, id="the sequential strategy"),
    ],
)
async def test_two_writes_are_never_in_flight_in_one_process(
    start_service: StartService, database: str, path: str, settings: dict[str, Any]
) -> None:
    assert await overlaps_under_load(start_service, database, path, **settings) == 0


async def test_parallel_writes_are_seen_to_overlap(start_service: StartService, database: str) -> None:
    assert await overlaps_under_load(start_service, database, "/v1/values", write_strategy="parallel") > 0


async def test_an_ordered_api_with_two_lanes_is_caught(
    start_service: StartService, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energy.service.QueueLimits", QueueLimits)  # so that the mutation is undone
    mutants.writes_two_at_a_time()
    assert await overlaps_under_load(start_service, database, "/v2/values", batch_rows_max=5) > 0
