"""An answer promises the same whether its row was written now or found: it is where the database's settings say it has to be."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from energy.store.postgres.writer import PostgresWriter
from fault.killing import kill_all_of
from fault.pair import Pair
from support.fixtures import StartService
from support.postgres import TestServer, execute, query, run
from support.service import client_of
from tools.local.waiting import until

REQUEST_TIMEOUT_S = 0.6
SETTINGS: dict[str, Any] = {"request_timeout_s": REQUEST_TIMEOUT_S, "database_connect_timeout_s": 0.5}
READ_AT = "2026-11-20T00:00:00+00:00"


def reading(value: int = 7, **more: Any) -> dict[str, Any]:
    return {"device_id": str(uuid4()), "reading_id": str(uuid4()), "value": value, "read_at": READ_AT, **more}


def wants_standby(dsn: str, name: str) -> None:
    """From now on COMMIT waits for that standby, or for none."""
    execute(dsn, f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    execute(dsn, "SELECT pg_reload_conf()")
    until(lambda: run(_commit_waits(dsn)) == (name == "ghost"), "the setting to be in force")


async def _commit_waits(dsn: str) -> bool:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT pg_logical_emit_message(true, 'test', '')", timeout=0.1)
    except TimeoutError:
        return True
    finally:
        await connection.close()
    return False


# ── a standby that is named and never there ──────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def lonely() -> Iterator[TestServer]:
    with contextlib.closing(TestServer()) as server:
        yield server


@pytest.fixture
def ghost(lonely: TestServer, start_service: StartService) -> Iterator[httpx.Client]:
    """A client of a service whose database will be told to wait for a standby that is never there."""
    dsn = lonely.migrated()
    service = start_service(dsn, **SETTINGS)
    with client_of(service) as client:
        yield client
    wants_standby(lonely.postgres.dsn, "")


Sending = Callable[[httpx.Client, dict[str, Any]], httpx.Response]


def single(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/readings", json=body)


def value(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    key = {"Idempotency-Key": body["reading_id"]}
    return client.post("/v2/values", json={"device_id": body["device_id"], "value": body["value"]}, headers=key)


def batch(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/readings/batch", json=[body])


def atomic_batch(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/readings/batch?atomic=true", json=[body])


SENDINGS = [single, value, batch, atomic_batch]


@pytest.mark.parametrize("send", SENDINGS, ids=lambda send: send.__name__)
def test_a_repeat_is_not_acknowledged_from_a_row_that_no_standby_has(
    ghost: httpx.Client, lonely: TestServer, send: Sending
) -> None:
    wants_standby(lonely.postgres.dsn, "ghost")
    body = reading()
    first, again = send(ghost, body), send(ghost, body)
    assert [(answer.status_code, answer.json().get("code")) for answer in (first, again)] == [
        (503, "outcome_unknown")
    ] * 2
    wants_standby(lonely.postgres.dsn, "")
    settled = send(ghost, body)
    assert settled.status_code == 200, settled.text


def test_an_id_is_not_called_taken_by_a_row_that_no_standby_has(ghost: httpx.Client, lonely: TestServer) -> None:
    wants_standby(lonely.postgres.dsn, "ghost")
    body = reading()
    single(ghost, body)
    assert single(ghost, {**body, "value": 8}).status_code == 503


def test_a_correction_is_not_acknowledged_before_its_standby_has_it(ghost: httpx.Client, lonely: TestServer) -> None:
    body = reading()
    assert single(ghost, body).status_code == 201
    wants_standby(lonely.postgres.dsn, "ghost")
    path = f"/v1/readings/{body['device_id']}/{body['reading_id']}/correction"
    correction = {"value": 8, "reading_id": str(uuid4())}
    answers = [ghost.post(path, json=correction) for _ in range(2)]
    other = ghost.post(path, json={"value": 9, "reading_id": str(uuid4())})
    assert [answer.status_code for answer in (*answers, other)] == [503, 503, 503]


def test_who_ends_the_wait_for_the_standby_does_not_make_it_acknowledged(
    ghost: httpx.Client, lonely: TestServer
) -> None:
    single(ghost, reading())
    wants_standby(lonely.postgres.dsn, "ghost")
    answers: list[httpx.Response] = []
    with contextlib.ExitStack() as stack:
        sender = stack.enter_context(_in_thread(lambda: answers.append(single(ghost, reading()))))
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        until(lambda: query(lonely.postgres.dsn, cancel) or not sender.is_alive(), "a commit to wait for the standby")
        while sender.is_alive():
            query(lonely.postgres.dsn, cancel)
            sender.join(0.02)
    assert [answer.status_code for answer in answers] == [503]


def _in_thread(work: Callable[[], Any]) -> contextlib.AbstractContextManager[Any]:
    @contextlib.contextmanager
    def running() -> Iterator[threading.Thread]:
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield thread
        finally:
            thread.join(30)

    return running()


def test_corrections_and_atomic_batches_hold_up_nobody_else(ghost: httpx.Client, lonely: TestServer) -> None:
    """Two of each wait for a standby that never comes: everything else still gets its answer in time, and so do they."""
    wrong = [reading() for _ in range(2)]
    for body in wrong:
        assert single(ghost, body).status_code == 201
    wants_standby(lonely.postgres.dsn, "ghost")

    def correct(body: dict[str, Any]) -> httpx.Response:
        return ghost.post(f"/v1/readings/{body['device_id']}/{body['reading_id']}/correction", json={"value": 9})

    waits: list[float] = []

    def timed(work: Callable[[], Any]) -> Callable[[], None]:
        def body() -> None:
            started = time.monotonic()
            work()
            waits.append(time.monotonic() - started)

        return body

    with contextlib.ExitStack() as running:
        for body in wrong:
            running.enter_context(_in_thread(timed(lambda body=body: correct(body))))  # type: ignore[misc]
            running.enter_context(_in_thread(timed(lambda: atomic_batch(ghost, reading()))))
        running.enter_context(_in_thread(timed(lambda: single(ghost, reading()))))
        running.enter_context(_in_thread(timed(lambda: batch(ghost, reading()))))
    assert len(waits) == 6
    assert max(waits) < REQUEST_TIMEOUT_S * 2 + 1
    wants_standby(lonely.postgres.dsn, "")
    assert single(ghost, reading()).status_code == 201


def test_a_commit_that_no_standby_confirms_does_not_hold_up_the_end(
    lonely: TestServer, start_service: StartService
) -> None:
    service = start_service(lonely.migrated(), **SETTINGS)
    with client_of(service) as client:
        body = reading()
        assert single(client, body).status_code == 201
        wants_standby(lonely.postgres.dsn, "ghost")
        path = f"/v1/readings/{body['device_id']}/{body['reading_id']}/correction"
        with (
            _in_thread(lambda: client.post(path, json={"value": 8})),
            _in_thread(lambda: atomic_batch(client, reading())),
        ):
            busy = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            until(lambda: query(lonely.postgres.dsn, busy), "a commit to wait for the standby")
            started = time.monotonic()
            service.stop()
            took = time.monotonic() - started
    wants_standby(lonely.postgres.dsn, "")
    assert took < REQUEST_TIMEOUT_S + 3


# ── a standby that goes, comes back, and is promoted when the primary's disk is lost ─────────────


def acknowledged_and_lost(pair: Pair, start_service: StartService) -> set[UUID]:
    """Loads the pair, breaks it, promotes the standby; what clients were told is stored and the new primary has not."""
    dsn = pair.primary.migrated()
    name = dsn.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    has_database = "SELECT 1 FROM pg_database WHERE datname = $1"
    until(lambda: query(pair.replica.dsn, has_database, name), "the database to reach the standby")
    wants_standby(pair.primary.postgres.dsn, "walreceiver")
    service = start_service(dsn, **SETTINGS)
    acknowledged: set[UUID] = set()
    with client_of(service) as client:

        def send(body: dict[str, Any]) -> int:
            answer = single(client, body)
            if answer.status_code in (200, 201):
                acknowledged.add(UUID(body["reading_id"]))
            return answer.status_code

        assert send(reading()) == 201  # the standby has it
        kill_all_of(pair.replica)
        unsure = reading()
        assert send(unsure) == 503
        send(unsure)  # the row is there, and nowhere else
    service.stop()
    kill_all_of(pair.primary.postgres)  # and its disk is never seen again
    pair.replica.start()
    execute(pair.replica.dsn, "SELECT pg_promote()")
    stored = query(pair.replica_dsn(dsn), "SELECT reading_id FROM readings")
    return acknowledged - {row[0] for row in stored}


@pytest.fixture
def pair() -> Iterator[Pair]:
    with contextlib.closing(TestServer()) as primary:
        pair = Pair(primary)
        until(lambda: query(primary.postgres.dsn, "SELECT 1 FROM pg_stat_replication"), "the standby to stream")
        yield pair
        pair.replica.stop(signal.SIGQUIT)


def test_what_was_acknowledged_is_on_the_standby_that_is_promoted(pair: Pair, start_service: StartService) -> None:
    assert acknowledged_and_lost(pair, start_service) == set()


@pytest.mark.slow
def test_without_the_wal_mark_the_same_fault_loses_what_was_acknowledged(
    pair: Pair, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_mark(_self: PostgresWriter, _session: object) -> None:
        """The mutation: whatever was found is acknowledged at once."""

    monkeypatch.setattr(PostgresWriter, "wait_for_found", no_mark)
    assert acknowledged_and_lost(pair, start_service)


@pytest.mark.slow
def test_a_standby_that_comes_back_settles_what_was_unknown(pair: Pair, start_service: StartService) -> None:
    dsn = pair.primary.migrated()
    with client_of(start_service(dsn, **SETTINGS)) as client:
        wants_standby(pair.primary.postgres.dsn, "walreceiver")
        body = reading()
        kill_all_of(pair.replica)
        assert single(client, body).status_code == 503
        pair.replica.start()
        until(lambda: single(client, body).status_code == 200, "the repeat to be acknowledged")
        stored = query(pair.replica_dsn(dsn), "SELECT value FROM readings")
    assert [json.loads(str(row[0])) for row in stored] == [7]
