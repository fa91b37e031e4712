"""The database fails in every way it has, behind a proxy or from inside: what clients hear is true, and what they sent is there once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from fault.proxy import Proxy
from support.fixtures import StartService
from support.postgres import TestServer, execute, query
from support.service import client_of
from tools.local.waiting import until

REQUEST_TIMEOUT_S = 1.0
PATIENCE_S = 1.5
"""What an answer may come later than the request's time: the end of a commit attempt, on a busy machine."""
SETTINGS: dict[str, Any] = {"request_timeout_s": REQUEST_TIMEOUT_S, "database_connect_timeout_s": 0.5}


@pytest.fixture
def proxy(postgres: TestServer) -> Iterator[Proxy]:
    with Proxy(postgres.postgres.data_dir) as proxy:
        yield proxy


@pytest.fixture
def behind_proxy(database: str, proxy: Proxy, start_service: StartService) -> Iterator[httpx.Client]:
    with client_of(start_service(proxy.dsn(database), **SETTINGS)) as client:
        yield client


@pytest.fixture
def direct(database: str, start_service: StartService) -> Iterator[httpx.Client]:
    with client_of(start_service(database, **SETTINGS)) as client:
        yield client


def reading(value: int = 7) -> dict[str, Any]:
    read_at = datetime(2026, 11, 20, tzinfo=UTC).isoformat()
    return {"device_id": str(uuid4()), "reading_id": str(uuid4()), "value": value, "read_at": read_at}


def post(client: httpx.Client, body: Any, path: str = "/v1/readings") -> httpx.Response:
    started = time.monotonic()
    answer = client.post(path, json=body)
    assert time.monotonic() - started < REQUEST_TIMEOUT_S + PATIENCE_S
    return answer


def stored(dsn: str, body: dict[str, Any]) -> list[UUID]:
    found = query(dsn, "SELECT reading_id FROM readings WHERE device_id = $1", UUID(body["device_id"]))
    return [row["reading_id"] for row in found]


def is_stored_once(dsn: str, body: dict[str, Any]) -> bool:
    return stored(dsn, body) == [UUID(body["reading_id"])]


# ── between the service and the database ─────────────────────────────────────────────────────────


def test_a_lost_answer_to_commit_is_settled_within_the_request(
    behind_proxy: httpx.Client, proxy: Proxy, database: str
) -> None:
    body = reading()
    proxy.cut_after_commit(1)
    assert post(behind_proxy, body).status_code == 201
    assert proxy.cuts == 1
    assert is_stored_once(database, body)


def test_a_statement_that_never_arrived_is_sent_again(behind_proxy: httpx.Client, proxy: Proxy, database: str) -> None:
    body = reading()
    proxy.cut_before_commit(1)
    assert post(behind_proxy, body).status_code == 201
    assert proxy.cuts == 1
    assert is_stored_once(database, body)


def test_a_retry_after_an_unknown_outcome_stores_the_reading_once(
    behind_proxy: httpx.Client, proxy: Proxy, database: str
) -> None:
    body = reading()
    proxy.cut_after_commit(1_000)
    first = post(behind_proxy, body)  # the commit happened, its answer never came
    proxy.heal()
    again = post(behind_proxy, body)
    assert (first.status_code, first.json()["code"]) == (503, "outcome_unknown")
    assert int(first.headers["retry-after"]) >= 1
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert is_stored_once(database, body)


def test_an_idempotency_key_settles_an_unknown_outcome_of_the_first_api(
    behind_proxy: httpx.Client, proxy: Proxy, database: str
) -> None:
    body = {"device_id": str(uuid4()), "value": 7}
    proxy.cut_after_commit(1_000)
    first = behind_proxy.post("/v1/values", json=body, headers={"Idempotency-Key": "of-november"})
    proxy.heal()
    again = behind_proxy.post("/v1/values", json=body, headers={"Idempotency-Key": "of-november"})
    assert (first.status_code, again.status_code) == (503, 200)
    assert len(stored(database, body)) == 1


def test_lost_connections_are_replaced(behind_proxy: httpx.Client, proxy: Proxy, database: str) -> None:
    for _ in range(3):
        proxy.refuse()
        proxy.heal()
        body = reading()
        assert post(behind_proxy, body).status_code == 201
        assert is_stored_once(database, body)


def test_a_database_that_refuses_connections_costs_a_503_and_heals(
    behind_proxy: httpx.Client, proxy: Proxy, database: str
) -> None:
    proxy.refuse()
    body = reading()
    refused = post(behind_proxy, body)
    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert behind_proxy.get("/livez").status_code == 200
    assert stored(database, body) == []
    proxy.heal()
    assert post(behind_proxy, body).status_code == 201
    assert is_stored_once(database, body)


def test_a_database_behind_a_black_hole_costs_a_503_and_heals(
    behind_proxy: httpx.Client, proxy: Proxy, database: str
) -> None:
    assert post(behind_proxy, reading()).status_code == 201
    proxy.swallow()
    body = reading()
    swallowed = post(behind_proxy, body)
    assert (swallowed.status_code, swallowed.json()["code"]) == (503, "outcome_unknown")
    assert behind_proxy.get("/livez").status_code == 200
    proxy.heal()
    assert until(lambda: post(behind_proxy, body).status_code in (200, 201), "the service to be well again")
    assert is_stored_once(database, body)


def test_a_database_that_goes_away_takes_no_pod_out_of_its_service(behind_proxy: httpx.Client, proxy: Proxy) -> None:
    proxy.refuse()
    post(behind_proxy, reading())  # takes longer than readiness remembers its last answer
    assert behind_proxy.get("/readyz").status_code == 200


def test_a_slow_database_is_waited_for(behind_proxy: httpx.Client, proxy: Proxy, database: str) -> None:
    proxy.slow_down(0.3)
    body = reading()
    assert post(behind_proxy, body).status_code == 201
    assert is_stored_once(database, body)


# ── inside the database ──────────────────────────────────────────────────────────────────────────


def break_inserts(dsn: str, when: str, code: str) -> None:
    """Makes the database raise `code` for rows where `when` holds; the sequence `attempts` outlives a rollback."""
    execute(dsn, "CREATE SEQUENCE attempts")
    execute(
        dsn,
        f"CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {when} THEN "
        f"RAISE EXCEPTION 'broken on purpose' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$",
    )
    execute(dsn, "CREATE TRIGGER broken BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION broken()")


def mend_inserts(dsn: str) -> None:
    execute(dsn, "DROP TRIGGER broken ON readings")


PASSING = [
    pytest.param("40001", id="serialization failure"),
    pytest.param("40P01", id="deadlock"),
    pytest.param("53100", id="disk full"),
    pytest.param("53200", id="out of memory"),
]


@pytest.mark.parametrize("code", PASSING)
def test_a_failure_that_passes_is_retried(direct: httpx.Client, database: str, code: str) -> None:
    break_inserts(database, "nextval('attempts') <= 3", code)
    body = reading()
    assert post(direct, body).status_code == 201
    assert is_stored_once(database, body)
    assert query(database, "SELECT last_value FROM attempts")[0][0] == 4


def test_a_full_disk_is_a_503_until_there_is_room(direct: httpx.Client, database: str) -> None:
    break_inserts(database, "true", "53100")
    body = reading()
    refused = post(direct, body)
    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert stored(database, body) == []
    mend_inserts(database)
    assert post(direct, body).status_code == 201
    assert is_stored_once(database, body)


def test_a_locked_table_does_not_outlast_the_deadline(direct: httpx.Client, database: str) -> None:
    body = reading()
    with locked(database):
        refused = post(direct, body)
    assert (refused.status_code, refused.json()["code"]) == (503, "outcome_unknown")
    assert post(direct, body).status_code in (200, 201)
    assert is_stored_once(database, body)


@contextmanager
def locked(dsn: str) -> Iterator[None]:
    """Somebody migrates by hand, and goes to lunch in the middle of it."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(dsn))
    loop.run_until_complete(connection.execute("BEGIN; LOCK TABLE readings IN ACCESS EXCLUSIVE MODE"))
    try:
        yield
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


@pytest.mark.parametrize(
    "code",
    [pytest.param("22003", id="data error"), pytest.param("23514", id="check"), pytest.param("P0001", id="trigger")],
)
async def test_a_row_that_the_database_refuses_fails_alone(
    start_service: StartService, database: str, code: str
) -> None:
    break_inserts(database, "NEW.value = 13", code)
    readings = [reading(value) for value in range(1, 31)]
    service = start_service(database, **SETTINGS, lanes=1, linger_ms=100)  # the lane waits: they become one batch
    host, port = service.address
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
        answers = await asyncio.gather(*(client.post("/v1/readings", json=body) for body in readings))
    for body, answer in zip(readings, answers, strict=True):
        if body["value"] == 13:
            assert (answer.status_code, answer.json()["code"]) == (422, "unstorable")
            assert stored(database, body) == []
        else:
            assert answer.status_code == 201
    assert query(database, "SELECT count(DISTINCT reading_id), count(*) FROM readings")[0] == (29, 29)


def test_a_refused_row_of_a_batch_fails_alone(direct: httpx.Client, database: str) -> None:
    break_inserts(database, "NEW.value = 13", "22003")
    readings = [reading(value) for value in range(1, 101)]
    answer = post(direct, readings, "/v1/readings/batch")
    assert answer.status_code == 200
    refused = [item for item in answer.json()["items"] if item["status"] != 201]
    assert [(item["index"], item["status"], item["code"]) for item in refused] == [(12, 422, "unstorable")]
    assert query(database, "SELECT count(*) FROM readings")[0][0] == 99


def test_a_refused_row_of_an_atomic_batch_fails_all(direct: httpx.Client, database: str) -> None:
    break_inserts(database, "NEW.value = 13", "22003")
    answer = post(direct, [reading(value) for value in range(1, 21)], "/v1/readings/batch?atomic=true")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_all_stored")
    assert query(database, "SELECT count(*) FROM readings")[0][0] == 0


def test_an_atomic_batch_whose_answer_was_lost_is_stored_once(
    behind_proxy: httpx.Client, proxy: Proxy, database: str
) -> None:
    readings = [reading(value) for value in range(1, 21)]
    proxy.cut_after_commit(1)
    assert post(behind_proxy, readings, "/v1/readings/batch?atomic=true").status_code == 200
    assert all(is_stored_once(database, body) for body in readings)
