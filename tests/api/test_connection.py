"""What one connection may do, byte by byte: HEAD, silence, junk, order of answers, and an end that loses no answer."""

from __future__ import annotations

import gc
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from uuid import uuid4

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from support.fixtures import StartService
from support.postgres import TestServer, count, locked_readings
from support.raw import RawConnection, exchange, request
from support.service import ServiceThread, client_of
from tools.local.waiting import until

OPEN = (1, 4, 5)  # ESTABLISHED, FIN_WAIT1 and FIN_WAIT2: the service has not hung up
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


@pytest.mark.parametrize("behind", [b"", b"GET /livez HTT"], ids=["whole", "with the start of another behind it"])
def test_a_client_that_sends_no_more_gets_its_answer_then_the_end(service: ServiceThread, behind: bytes) -> None:
    with closing(RawConnection(service, SOON_S)) as connection:
        connection.send(request("POST", "/v1/values", value()) + behind)
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.answer().status == 201
        assert connection.closed()


@pytest.mark.parametrize("ends", [None, socket.SHUT_WR], ids=["may go on", "sends no more"])
def test_a_client_that_does_not_read_its_answers_is_cut_off(hasty: ServiceThread, ends: int | None) -> None:
    """Whoever asks for much and reads nothing would hold its answers in memory, and one of the connections, for ever."""
    with closing(socket.socket()) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(hasty.address)
        deaf.sendall(request("GET", "/openapi.json") * 200)
        if ends is not None:
            deaf.shutdown(ends)
        until(lambda: deaf.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) not in OPEN, "the connection's end", SOON_S)


def test_a_client_that_reads_slowly_gets_its_whole_answer(hasty: ServiceThread) -> None:
    with closing(socket.socket()) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        slow.connect(hasty.address)
        slow.settimeout(SOON_S)
        slow.sendall(request("GET", "/docs/ui/swagger-ui-bundle.js", b"", "Connection: close"))
        began, read = time.monotonic(), 0
        while piece := slow.recv(65_536):
            read += len(piece)
            time.sleep(0.05)  # the client's slowness, not a wait
    assert read > 1_000_000
    assert time.monotonic() - began > TIMEOUT_S


def test_what_a_client_asks_ahead_is_read_as_it_is_answered(service: ServiceThread) -> None:
    """A request costs a hundred times its bytes once it is read: fifty clients that sent ahead made the process 900 MB."""
    with ExitStack() as connections:
        for _ in range(5):
            deaf = connections.enter_context(closing(RawConnection(service, SOON_S)))
            deaf.socket.setblocking(False)
            deaf.socket.send(request("GET", "/livez") * 5_000)
        with client_of(service) as client:
            for _ in range(50):
                assert client.get("/livez").status_code == 200
        assert sum(isinstance(thing, RequestResponseCycle) for thing in gc.get_objects()) < 300


def test_a_thousand_requests_sent_ahead_are_answered_in_order(service: ServiceThread) -> None:
    paths = ["/livez", "/v1/window", "/nothing", "/v1/values"] * 250
    with closing(RawConnection(service, SOON_S)) as connection:
        sending = threading.Thread(target=lambda: connection.send(b"".join(request("GET", path) for path in paths)))
        sending.start()
        statuses = [connection.answer("GET").status for _ in paths]
        sending.join()
    assert statuses == [200, 200, 404, 405] * 250


def test_all_that_was_asked_before_a_client_sends_no_more_is_answered(service: ServiceThread) -> None:
    with closing(RawConnection(service, SOON_S)) as connection:
        connection.send(request("GET", "/livez") * 1_000)
        connection.socket.shutdown(socket.SHUT_WR)
        assert [connection.answer("GET").status for _ in range(1_000)] == [200] * 1_000
        assert connection.closed()


def test_a_body_in_chunks_of_a_byte_is_whole(service: ServiceThread) -> None:
    body = value() + b" " * 2_000 + b"\r\n" * 2_000
    chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    head = b"POST /v1/values HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(RawConnection(service, SOON_S)) as connection:
        connection.send(head + chunked + b"0\r\n\r\n" + request("GET", "/livez"))
        assert [connection.answer().status, connection.answer("GET").status] == [201, 200]


def test_answers_to_a_client_that_is_gone_are_no_errors(
    service: ServiceThread, caplog: pytest.LogCaptureFixture
) -> None:
    before = count(service.dsn)
    with locked_readings(service.dsn) as unlock:
        with closing(RawConnection(service, SOON_S)) as connection:
            connection.send(request("POST", "/v1/values", value()) * 3)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with client_of(service) as client:
            assert client.get("/livez").status_code == 200
        unlock()
    until(lambda: count(service.dsn) > before, "the first to be stored")
    with client_of(service) as client:
        assert client.get("/livez").status_code == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


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


def test_clients_that_send_no_more_count_as_connections_until_their_answer(start_service: StartService) -> None:
    service = start_service(connections_max=10, request_timeout_s=1, body_timeout_s=TIMEOUT_S)
    with locked_readings(service.dsn), ExitStack() as opened:
        for _ in range(10):
            waiting = opened.enter_context(closing(RawConnection(service, SOON_S)))
            waiting.send(request("POST", "/v1/values", value()))
            waiting.socket.shutdown(socket.SHUT_WR)
        assert exchange(service, request("GET", "/livez")).status == 503
        until(lambda: exchange(service, request("GET", "/livez")).status == 200, "the deadline of those", SOON_S)


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
