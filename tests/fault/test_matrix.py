"""Every fault of the database against every kind of request: an answer in time, the right one, its reason in the log, and back by itself.

A fault is begun once; while it lasts, all requests are sent at the same time, and what they were answered is kept. The tests
then look at one cell each, so a fault costs what its slowest request waits.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from energy.ingest import committer
from energy.logs import Seldom
from fault import faults
from fault.case import REQUEST_TIMEOUT_S, ROLE, Answer, Case, case_of
from support.postgres import TestServer, execute, query
from support.service import client_of
from tools.local.waiting import until

PATIENCE_S = 2.0
"""What an answer may come later: a look-up before it, and a busy machine."""
BACK_WITHIN_S = 2.0
BUSY_MACHINE_S = 2.0
READ_AT = "2026-11-20T00:00:00+00:00"


# ── the requests ─────────────────────────────────────────────────────────────────────────────────

Send = Callable[[httpx.Client, dict[str, Any]], httpx.Response]


def single(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/readings", json=body)


def ordered_value(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    value = {"device_id": body["device_id"], "value": body["value"]}
    return client.post("/v2/values", json=value, headers={"Idempotency-Key": body["reading_id"]})


def batch(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/readings/batch", json=[body])


def atomic_batch(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/readings/batch?atomic=true", json=[body])


def correction(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    wrong = body["wrong"]
    path = f"/v1/readings/{wrong['device_id']}/{wrong['reading_id']}/correction"
    return client.post(path, json={"value": 8, "reading_id": body["reading_id"]})


def history(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.get(f"/v1/devices/{body['wrong']['device_id']}/readings")


def progress(client: httpx.Client, _body: dict[str, Any]) -> httpx.Response:
    return client.get("/v1/progress?period=2026-11")


def export(client: httpx.Client, _body: dict[str, Any]) -> httpx.Response:
    return client.get("/v1/export?period=2026-11")


def readyz(client: httpx.Client, _body: dict[str, Any]) -> httpx.Response:
    return client.get("/readyz")


WRITES: dict[str, Send] = {
    "single": single, "v2": ordered_value, "batch": batch, "atomic": atomic_batch, "correction": correction,
    "new-key": single,
}  # fmt: skip
READS: dict[str, Send] = {"history": history, "progress": progress, "export": export}
REQUESTS: dict[str, Send] = {**WRITES, **READS, "readyz": readyz}


def a_reading() -> dict[str, Any]:
    return {"device_id": str(uuid4()), "reading_id": str(uuid4()), "value": 7, "read_at": READ_AT}


def send(case: Case, name: str, body: dict[str, Any], token: str) -> Answer:
    assert case.service is not None
    with client_of(case.service, headers={"Authorization": f"Bearer {token}"}) as client:
        started = time.monotonic()
        try:
            response = REQUESTS[name](client, body)
        except httpx.RemoteProtocolError:  # a stream has no other way to say that it is not whole
            return Answer(CUT_SHORT, "", time.monotonic() - started)
        took_s = time.monotonic() - started
    code = response.json().get("code", "") if "problem" in response.headers.get("content-type", "") else ""
    if name in WRITES and response.status_code in (200, 201):
        items = response.json().get("items", [{}])
        if all(item.get("status", 200) in (200, 201) for item in items):
            case.acknowledged.add(UUID(response.json().get("reading_id") or items[0]["reading_id"]))
    return Answer(response.status_code, code, took_s)


# ── what each fault allows ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Row:
    """One fault: what it does to writes and to reads, and the word that the log has for it."""

    fault: faults.Fault
    writes: frozenset[int]
    reads: frozenset[int]
    reason: str | None
    slow: bool = False


CUT_SHORT = 0  # no status: an export that had begun ended without its last chunk, and the client sees that
STORED, REFUSED, EITHER = frozenset({200, 201}), frozenset({503}), frozenset({200, 201, 503})
MATRIX = {
    "killed": Row(faults.killed, REFUSED, REFUSED, "could not be committed"),
    "frozen": Row(faults.frozen, REFUSED, REFUSED, "could not be committed"),
    "read-only": Row(faults.read_only, REFUSED, STORED, "read-only"),
    "standby-gone": Row(faults.standby_gone, REFUSED, STORED, "could not be committed"),
    "locked": Row(faults.locked, REFUSED, REFUSED, "could not be committed"),
    "lock-timeout": Row(faults.lock_timeout, REFUSED, REFUSED, "55P03"),
    "terminated": Row(faults.backends_terminated, EITHER, EITHER, None),
    "exhausted": Row(faults.connections_exhausted, REFUSED, REFUSED, "53300"),
    "privilege": Row(faults.privilege_missing, REFUSED, STORED, "42501"),
    "pgbouncer": Row(faults.behind_pgbouncer, STORED, STORED, None),
    "disk-full": Row(faults.disk_full, REFUSED, STORED, "53100", slow=True),
    "failed-over": Row(faults.failed_over, REFUSED, REFUSED, "could not be committed", slow=True),
}


# ── one round of each ────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with contextlib.closing(TestServer()) as server:
        execute(server.dsn, f"CREATE ROLE {ROLE} LOGIN")
        yield server


FAULTS = [pytest.param(name, id=name, marks=[pytest.mark.slow] if row.slow else []) for name, row in MATRIX.items()]


@pytest.fixture(scope="module", params=FAULTS)
def case(request: pytest.FixtureRequest, server: TestServer) -> Iterator[tuple[str, Case]]:
    name: str = request.param
    with ExitStack() as running:
        case = case_of(name, server, running)
        handler = _Keeping(case.log)
        logging.getLogger("energy").addHandler(handler)
        committer._seldom = Seldom(logging.getLogger(committer.__name__))
        try:
            _play(case, MATRIX[name])
            yield name, case
        finally:
            logging.getLogger("energy").removeHandler(handler)


class _Keeping(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _play(case: Case, row: Row) -> None:
    known, unseen = case.tokens
    wrong = {name: a_reading() for name in REQUESTS}
    for name in ("correction", "history"):
        assert send(case, "single", wrong[name], known).status == 201
    bodies = {name: {**a_reading(), "wrong": wrong[name]} for name in REQUESTS}
    for name in ("single", "v2", "batch", "new-key", "atomic"):
        del bodies[name]["wrong"]
    with row.fault(case), ThreadPoolExecutor(len(REQUESTS)) as pool:
        asked = {
            name: pool.submit(send, case, name, bodies[name], unseen if name == "new-key" else known)
            for name in REQUESTS
        }
        case.answers = {name: answer.result() for name, answer in asked.items()}
    began = time.monotonic()
    until(lambda: send(case, "single", a_reading(), known).status == 201, "the service to be back")
    case.back_s = time.monotonic() - began
    for name in WRITES:
        until(lambda name=name: send(case, name, bodies[name], known).status in (200, 201), f"{name} to be settled")  # type: ignore[misc]


# ── the cells ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_meets_the_fault_and_has_its_answer_in_time(case: tuple[str, Case], name: str) -> None:
    fault, played = case
    row, answer = MATRIX[fault], played.answers[name]
    allowed = STORED if name == "readyz" else row.writes if name in WRITES else row.reads
    if name == "export" and row.reads >= REFUSED:
        allowed |= {CUT_SHORT}
    assert answer.status in allowed, answer
    assert answer.code in ("", "database_unavailable", "outcome_unknown"), answer
    assert answer.took_s < REQUEST_TIMEOUT_S + PATIENCE_S, answer


def test_the_service_is_back_by_itself_and_soon(case: tuple[str, Case]) -> None:
    assert case[1].back_s < BACK_WITHIN_S + BUSY_MACHINE_S


def test_everything_that_was_acknowledged_is_stored_once(case: tuple[str, Case]) -> None:
    played = case[1]
    stored = [row[0] for row in query(played.stored_dsn, "SELECT reading_id FROM readings")]
    assert len(stored) == len(set(stored))
    assert played.acknowledged <= set(stored)


def test_the_log_says_why(case: tuple[str, Case]) -> None:
    fault, played = case
    reason = MATRIX[fault].reason
    assert reason is None or any(reason in line for line in played.log), played.log
