"""What stays of our own protocol code, beside h11: the same bytes get the same number of answers, refusals and endings."""

from __future__ import annotations

import socket
from contextlib import closing

import h11
import pytest

from support.raw import RawConnection
from support.service import ServiceThread

GET = b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n"
HEAD = b"HEAD /livez HTTP/1.1\r\nHost: t\r\n\r\n"
POST = b"POST /livez HTTP/1.1\r\nHost: t\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = b"GET /livez HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"

CONVERSATIONS = {
    "nothing": b"",
    "one request": GET,
    "three in one segment": GET * 3,
    "HEAD between two": GET + HEAD + GET,
    "CRLF before": b"\r\n" + GET,
    "CRLF between": GET + b"\r\n" + GET,
    "LF line ends": GET.replace(b"\r\n", b"\n"),
    "a body": POST + b"Content-Length: 2\r\n\r\n{}" + GET,
    "an empty body": POST + b"Content-Length: 0\r\n\r\n" + GET,
    "no length at all": POST + b"\r\n" + GET,
    "a body that goes on": POST + b"Content-Length: 2\r\n\r\n{}junk\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + GET,
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + GET,
    "a length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + GET,
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a length with a plus": POST + b"Content-Length: +2\r\n\r\n{}",
    "a length of words": POST + b"Content-Length: two\r\n\r\n{}",
    "a length of twenty nines": POST + b"Content-Length: " + b"9" * 20 + b"\r\n\r\n{}",
    "chunks": CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n" + GET,
    "chunks with an extension": CHUNKED + b"2;a=b\r\n{}\r\n0\r\n\r\n" + GET,
    "chunks with a trailer": CHUNKED + b"2\r\n{}\r\n0\r\nX-A: b\r\n\r\n" + GET,
    "a chunk of no number": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\n{}{}\r\n0\r\n\r\n",
    "another transfer encoding": POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0": b"GET /livez HTTP/1.0\r\n\r\n" + GET,
    "HTTP/1.0 that would stay": b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/9.9": b"GET /livez HTTP/9.9\r\nHost: t\r\n\r\n",
    "the end is asked for": CLOSE,
    "a request behind the end": CLOSE + GET,
    "junk behind the end": CLOSE + b"junk",
    "no Host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a whole address": b"GET http://t/livez HTTP/1.1\r\nHost: t\r\n\r\n" + GET,
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n" + GET,
    "an unknown method": b"BREW /livez HTTP/1.1\r\nHost: t\r\n\r\n",
    "a method in small letters": b"get /livez HTTP/1.1\r\nHost: t\r\n\r\n",
    "a blank in a name": b"GET /livez HTTP/1.1\r\nHost: t\r\nX A: b\r\n\r\n",
    "a blank before the colon": b"GET /livez HTTP/1.1\r\nHost: t\r\nX-A : b\r\n\r\n",
    "a header without a name": b"GET /livez HTTP/1.1\r\nHost: t\r\n: b\r\n\r\n",
    "a header without a colon": b"GET /livez HTTP/1.1\r\nHost: t\r\nX-A\r\n\r\n",
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: t\r\nX-A: b\r\n c\r\n\r\n",
    "a zero byte in a header": b"GET /livez HTTP/1.1\r\nHost: t\r\nX-A: \0\r\n\r\n",
    "a lone CR in a header": b"GET /livez HTTP/1.1\r\nHost: t\r\nX-A: b\rc\r\n\r\n",
    "a blank in the target": b"GET /li vez HTTP/1.1\r\nHost: t\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "junk": b"junk\r\n\r\n",
    "junk behind a request": GET + b"junk\r\n\r\n",
    "an upgrade": b"GET /livez HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a continue": POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}" + GET,
    "an expectation nobody knows": POST + b"Expect: tea\r\nContent-Length: 2\r\n\r\n{}" + GET,
}


REFUSED, ANSWERED = ["refused", "closed"], ["answered", "open"]
OTHERWISE = {
    # An empty line before a request line is ignored (RFC 9112, 2.2); h11 does not.
    "CRLF before": ANSWERED,
    "CRLF between": ["answered", *ANSWERED],
    # Forms that two servers may read in two ways: requests can be smuggled in them, so they are refused (RFC 9112, 11.2).
    "LF line ends": REFUSED,
    "a folded header": REFUSED,
    "two equal lengths": REFUSED,
    "a length and chunks": REFUSED,
    # What llhttp knows nothing of.
    "a length of twenty nines": REFUSED,
    "an unknown method": REFUSED,
    "a method in small letters": REFUSED,
    "HTTP/2": REFUSED,
    "HTTP/9.9": REFUSED,
    # llhttp reads nothing more behind a request that asks for another protocol.
    "an upgrade": ["answered", "closed"],
}
"""Where the service does otherwise than h11, and what."""


def of_h11(data: bytes) -> list[str]:
    """What a server on h11 would do: an answer for each request, a refusal, and whether it would hear more."""
    said: list[str] = []
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=16_384)
    if data:  # none would mean that the client hung up
        connection.receive_data(data)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return [*said, "refused", "closed"]
        if event is h11.NEED_DATA:
            return [*said, "open"]
        if isinstance(event, h11.EndOfMessage):
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            said.append("answered")
            if connection.our_state is h11.MUST_CLOSE:
                return [*said, "closed"]
            connection.start_next_cycle()


def of_ours(service: ServiceThread, data: bytes, expected: int, pieces: int = 1_000_000) -> list[str]:
    """What the service does; `expected` answers are waited for, one more only for a moment."""
    said = []
    with closing(RawConnection(service, 5.0)) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), pieces):
            connection.send(data[start : start + pieces])
        for n in range(expected):
            answer = connection.answer("HEAD" if HEAD in data and n == 1 else "GET")
            said.append("refused" if answer.status in (400, 431) else "answered")
        connection.socket.settimeout(0.05)
        try:
            return [*said, "closed" if connection.closed() else "more"]
        except TimeoutError:
            return [*said, "open"]


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_goes_as_with_h11_or_as_is_said_here(service: ServiceThread, name: str) -> None:
    data = CONVERSATIONS[name]
    expected = OTHERWISE.get(name, of_h11(data))
    assert of_ours(service, data, len(expected) - 1) == expected


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_is_said_to_be_otherwise_is_otherwise(name: str) -> None:
    assert of_h11(CONVERSATIONS[name]) != OTHERWISE[name]


@pytest.mark.parametrize("name", [name for name in CONVERSATIONS if not name.startswith("a chunk ")])
def test_a_conversation_goes_the_same_byte_by_byte(service: ServiceThread, name: str) -> None:
    data = CONVERSATIONS[name]  # but those whose body breaks: nobody waits for it, so they are answered before
    expected = OTHERWISE.get(name, of_h11(data))
    assert of_ours(service, data, len(expected) - 1, pieces=1) == expected
