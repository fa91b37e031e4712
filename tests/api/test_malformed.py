"""Bad input gets a 4xx with a detail that helps, never a 5xx, and the service goes on."""

from __future__ import annotations

from uuid import uuid4

import pytest

from api.malformed import CORPUS, DEVICE, GOOD, Malformed
from support.fixtures import StartService
from support.postgres import query
from support.raw import RawConnection, exchange, request
from support.service import ServiceThread

USEFUL_DETAIL_CHARACTERS_MIN = 12


def test_the_corpus_has_more_than_a_hundred_different_requests() -> None:
    assert len({case.data for case in CORPUS}) >= 100


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_bad_input_gets_a_problem_document_stores_nothing_and_ends_nothing(
    service: ServiceThread, case: Malformed
) -> None:
    answer = exchange(service, case.data)
    assert answer.status in case.statuses, (answer.status, answer.body[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status
    assert problem["type"].endswith(problem["code"].replace("_", "-"))
    assert len(problem["detail"]) >= USEFUL_DETAIL_CHARACTERS_MIN, problem
    assert query(service.dsn, "SELECT * FROM readings WHERE device_id = $1::text::uuid", DEVICE) == [], "it was stored"
    assert exchange(service, request("GET", "/livez")).status == 200


def test_a_body_that_does_not_arrive_gets_408(start_service: StartService) -> None:
    service = start_service(body_timeout_s=0.3)
    connection = RawConnection(service)
    connection.send(request("POST", "/v1/values", GOOD)[:-5])
    answer = connection.answer()
    connection.close()
    assert (answer.status, answer.json()["code"]) == (408, "body_timeout")


def test_headers_that_do_not_arrive_end_the_connection(start_service: StartService) -> None:
    service = start_service(body_timeout_s=0.3)
    connection = RawConnection(service)
    connection.send(b"POST /v1/values HTTP/1.1\r\nHost: te")
    assert connection.answer().status == 408
    assert connection.closed()
    connection.close()


def test_a_client_that_hangs_up_in_its_body_costs_nobody_else_anything(service: ServiceThread) -> None:
    for _ in range(20):
        connection = RawConnection(service)
        connection.send(request("POST", "/v1/readings/batch", b"[" + GOOD)[:-5])
        connection.close()
    good = GOOD.replace(DEVICE.encode(), str(uuid4()).encode())
    assert exchange(service, request("POST", "/v1/values", good)).status == 201
