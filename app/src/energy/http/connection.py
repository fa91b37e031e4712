"""uvicorn's HTTP protocol with the two limits it lacks: on the size of the headers, and on the time a request may take to arrive.

It exists because both are needed before any application code runs. A request that is not HTTP gets a problem document too.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from energy.http.responses import Receive, Scope, Send, respond_problem
from energy.wire.problems import CONTENT_TYPE, Problem


class _HeadWithBody:
    """Writes a response's head together with the first piece of its body: one system call instead of two.

    Small answers are the rule here, and the second call was an eighth of what a reading costs.
    """

    __slots__ = ("_head", "_started", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._started = False

    def write(self, part: bytes) -> None:
        if self._head is not None:
            self._transport.write(self._head + part)
            self._head = None
        elif not self._started and not part.startswith(b"HTTP/1.1 100"):
            self._head, self._started = part, True
        else:
            self._transport.write(part)

    def close(self) -> None:
        if self._head is not None:
            self._transport.write(self._head)
            self._head = None
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


def limited_protocol(  # noqa: C901 - a class in a closure: uvicorn makes the objects and passes no settings
    header_bytes_max: int, request_timeout_s: float
) -> type[HttpToolsProtocol]:
    """A protocol class with these limits, for `uvicorn.Config(http=...)`."""
    too_large = Problem("headers_too_large", f"The request line and headers may have at most {header_bytes_max} bytes.")

    too_slow = Problem("body_timeout", f"A request has to arrive within {request_timeout_s:g} s.")

    async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond_problem(send, "", too_large)

    class LimitedProtocol(HttpToolsProtocol):
        _header_bytes = 0
        _in_headers = False
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
            super().connection_made(transport)
            self._deadline = self.loop.call_later(request_timeout_s, self._too_slow)

        def connection_lost(self, exc: Exception | None) -> None:
            self._no_deadline()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_headers:
                self._header_bytes += len(data)
                if self._header_bytes > header_bytes_max:
                    self._refuse(too_large)
                    return
            super().data_received(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_headers, self._header_bytes = True, 0
            if self._deadline is None:
                self._deadline = self.loop.call_later(request_timeout_s, self._too_slow)

        def on_url(self, url: bytes) -> None:
            self._header_bytes += len(url)
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._header_bytes += len(name) + len(value)
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._in_headers = False
            if self._header_bytes > header_bytes_max:  # they came in one piece
                self.app = refuse
            super().on_headers_complete()
            self.cycle.transport = _HeadWithBody(self.transport)  # type: ignore[assignment]  # the part of a transport that a cycle uses

        def on_message_complete(self) -> None:
            self._no_deadline()
            super().on_message_complete()

        def send_400_response(self, msg: str) -> None:
            self._refuse(Problem("bad_http", msg))

        def _too_slow(self) -> None:
            self._deadline = None
            if self.transport.is_closing():
                return
            if not self._in_headers and not self.cycle.response_started:
                self._refuse(too_slow)
            self.transport.close()

        def _no_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _refuse(self, problem: Problem) -> None:
            body = problem.body()
            head = b"content-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (CONTENT_TYPE, len(body))
            self.transport.write(STATUS_LINE[problem.status] + head + body)
            self.transport.close()

    return LimitedProtocol
