"""What one connection may do, byte by byte: HEAD, silence, junk, order of answers, and an end that loses no answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from uuid import uuid4

import pytest

from support.fixtures import StartService
from support.postgres import TestServer, count, locked_readings
from support.raw import RawConnection, exchange, request
from support.service import ServiceThread, client_of

TIMEOUT_S = 0.5
SOON_S = 5.0


def value() -> bytes:
    return json.dumps({"device_id": str(uuid4()), "value": 7}).encode()


@pytest.fixture(scope="module")
def hasty(postgres: TestServer) -> Iterator[ServiceThread]:
    with ServiceThread(postgres.migrated(), body_timeout_s=TIMEOUT_S) as running:
        yield running


def test_head_is_answered_as_get_without_a_body(service: ServiceThread) -> None:
    with closing(RawConnection(service, SOON_S)) as connection:
        for path, status in [
            ("/livez", 200),
            ("/readyz", 200),
            ("/v1/window", 200),
            ("/v1/values", 405),
            ("/nothing", 404),
        ]:
            connection.send(request("HEAD", path))
            assert connection.answer("HEAD").status == status, path


def test_the_answer_behind_a_head_is_the_next_requests(service: ServiceThread) -> None:
    with closing(RawConnection(service, SOON_S)) as connection:
        connection.send(request("HEAD", "/livez"))
        assert connection.answer("HEAD").status == 200
        connection.send(request("POST", "/v1/values", value()))
        assert connection.answer().status == 201


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        pytest.param(b"", b"", id="silent"),
        pytest.param(b"", b"\r\n", id="CRLF"),
        pytest.param(request("GET", "/livez"), b"\r\n", id="CRLF behind an answer"),
    ],
)
def test_a_connection_that_asks_nothing_is_closed(hasty: ServiceThread, asked: bytes, sent: bytes) -> None:
    with closing(RawConnection(hasty, SOON_S)) as connection:
        if asked:
            connection.send(asked)
            assert connection.answer("GET").status == 200
        connection.send(sent)
        assert connection.closed()


def test_junk_behind_a_request_does_not_overtake_its_answer(service: ServiceThread) -> None:
    before = count(service.dsn)
    with closing(RawConnection(service, SOON_S)) as connection:
        connection.send(request("POST", "/v1/values", value()) + b"\x00junk\r\n\r\n")
        assert [connection.answer().status, connection.answer().status] == [201, 400]
        assert connection.closed()
    assert count(service.dsn) == before + 1


def test_a_slow_request_behind_another_does_not_overtake_its_answer(hasty: ServiceThread) -> None:
    with closing(RawConnection(hasty, SOON_S)) as connection, locked_readings(hasty.dsn) as unlock:
        connection.send(request("POST", "/v1/values", value()) + request("POST", "/v1/values", value())[:-5])
        connection.socket.settimeout(3 * TIMEOUT_S)
        with pytest.raises(TimeoutError):
            connection.socket.recv(1)
        connection.socket.settimeout(SOON_S)
        unlock()
        assert [connection.answer().status, connection.answer().status] == [201, 408]


def test_a_client_in_the_middle_of_a_large_body_reads_its_413(service: ServiceThread) -> None:
    body = b"x" * 300_000
    for attempt in range(10):
        answer = exchange(service, request("POST", "/v1/values", body))
        assert (answer.status, answer.json()["code"]) == (413, "too_large"), attempt


def test_a_connection_that_stays_after_its_refusal_is_closed(service: ServiceThread) -> None:
    with closing(RawConnection(service, 10)) as connection:
        connection.send(request("POST", "/v1/values", b"x" * 300_000)[:100_000])
        assert connection.answer().status == 413
        assert connection.closed()


def test_a_body_in_one_piece_with_the_end_of_its_head_is_no_header(service: ServiceThread) -> None:
    whole = request("POST", "/v1/values", value() + b" " * 16_250)
    with closing(RawConnection(service)) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.send(whole[:20])
        exchange(service, request("GET", "/livez"))  # by then the service has read the beginning
        connection.send(whole[20:])
        assert connection.answer().status == 201


@pytest.mark.parametrize("end", [pytest.param(b"\r\n", id="behind a line"), pytest.param(b"\r\n\r\n", id="in a line")])
def test_large_headers_are_refused_also_when_nearly_all_come_at_once(service: ServiceThread, end: bytes) -> None:
    whole = b"GET /livez HTTP/1.1\r\nHost: t\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\n"
    with closing(RawConnection(service)) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.send(whole.removesuffix(end))
        exchange(service, request("GET", "/livez"))  # by then the service has read them
        connection.send(end)
        assert connection.answer("GET").status == 431


def test_connections_beyond_the_limit_are_answered_503(start_service: StartService) -> None:
    service = start_service(connections_max=10)
    with ExitStack() as opened:
        held = [opened.enter_context(closing(RawConnection(service))) for _ in range(10)]
        for connection in held:
            connection.send(request("GET", "/livez"))
            assert connection.answer("GET").status == 200
        answer = exchange(service, b"")
        assert (answer.status, answer.json()["code"]) == (503, "connections_busy")
        assert int(answer.headers["retry-after"]) > 0
    with client_of(service) as client:
        client.get("/livez").raise_for_status()


def test_refusals_of_every_kind_are_counted_and_have_an_id(hasty: ServiceThread) -> None:
    late = b"POST /v1/values HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n"
    large = b"GET / HTTP/1.1\r\nHost: t\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n"
    for data, status in [(b"junk\r\n\r\n", 400), (late, 408), (large, 431), (b"GET /livez HTTP/1.1\r\n\r\n", 400)]:
        answer = exchange(hasty, data)
        assert answer.status == status
        assert answer.headers["x-request-id"]
    with client_of(hasty) as client:
        metrics = client.get("/metrics").text
    for status in (400, 408, 431):
        assert f'status="{status}"' in metrics


@pytest.mark.parametrize("name", ["Authorization", "Idempotency-Key", "Host", "Content-Type"])
def test_a_header_that_must_be_one_is_refused_when_it_is_two(service: ServiceThread, name: str) -> None:
    answer = exchange(service, request("POST", "/v1/values", value(), f"{name}: application/json", f"{name}: b"))
    assert answer.status == 400
