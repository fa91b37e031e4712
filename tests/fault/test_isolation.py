"""What one request does or one setting becomes costs the others nothing: blame, look-ups, memory and durability are apart."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import httpx
import pytest

from energy.http.auth import new_key
from energy.store.postgres.database import Database, PoolLimits
from energy.store.postgres.keys import PostgresKeys
from fault.test_database_faults import break_inserts
from support.fixtures import StartService
from support.postgres import execute, query, run
from support.service import client_of

READ_AT = "2026-11-20T00:00:00+00:00"


def reading(value: int = 7, **more: Any) -> dict[str, Any]:
    return {"device_id": str(uuid4()), "reading_id": str(uuid4()), "value": value, "read_at": READ_AT, **more}


def test_a_row_that_the_database_refuses_is_the_only_one_blamed(start_service: StartService, database: str) -> None:
    break_inserts(database, "NEW.value = 13", "22003")
    with client_of(start_service(database)) as client:
        answer = client.post("/v1/readings/batch?atomic=true", json=[reading(value) for value in range(1, 41)])
    assert (answer.status_code, answer.json()["code"]) == (422, "not_all_stored")
    assert [(item["index"], item["code"]) for item in answer.json()["items"]] == [(12, "unstorable")]
    assert query(database, "SELECT count(*) AS n FROM readings")[0]["n"] == 0


def test_an_account_bound_batch_is_undecided_while_accounts_cannot_be_looked_up(
    start_service: StartService, database: str
) -> None:
    """Not refused: a client would drop what it is told to be refused."""
    token, key = new_key(frozenset({"ingest"}), None, "ACC1", None)

    async def make() -> None:
        owned = Database(database, PoolLimits(1, 5, 0))
        await PostgresKeys(owned, 5).create([(key, "")])
        await owned.close()

    run(make())
    service = start_service(database, auth="keys", request_timeout_s=2)
    with client_of(service, headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.post("/v1/readings/batch", json=[reading()]).json()["items"][0]["status"] == 403
        execute(database, "ALTER TABLE meters RENAME TO hidden")
        began = time.monotonic()
        answer = client.post("/v1/readings/batch", json=[reading() for _ in range(50)])
        took_s = time.monotonic() - began
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert took_s < 2


def test_a_token_of_any_size_is_refused_unread(start_service: StartService) -> None:
    def lookups(client: httpx.Client) -> list[str]:
        return [line for line in client.get("/metrics").text.splitlines() if line.startswith("energy_lookups_total")]

    with client_of(start_service(auth="keys")) as client:
        before = lookups(client)
        for token in ("a" * 200 + "." + "b" * 200, "x." + "y" * 15_000, "known." + " " * 10_000 + "s" * 40):
            assert client.get("/v1/progress", headers={"Authorization": f"Bearer {token}"}).status_code == 401
        assert lookups(client) == before


@pytest.mark.parametrize("off", ["off", "local"])
def test_a_server_default_that_becomes_unsafe_reaches_no_commit(
    start_service: StartService, database: str, off: str
) -> None:
    name = database.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    with client_of(start_service(database, database_connect_timeout_s=0.5, request_timeout_s=1)) as client:
        assert client.post("/v1/readings", json=reading()).status_code == 201
        execute(database, f"ALTER DATABASE {name} SET synchronous_commit = {off}")  # of every new session
        execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'energy' AND datname = $1",
            name,
        )
        assert client.post("/v1/readings", json=reading()).status_code == 503
        execute(database, f"ALTER DATABASE {name} RESET synchronous_commit")
        assert client.post("/v1/readings", json=reading()).status_code == 201
