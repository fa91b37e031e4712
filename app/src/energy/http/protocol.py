"""uvicorn's HTTP protocol with the two limits it lacks: on the size of the headers, and on the time they may take.

It exists because both are needed before any application code runs. A request that is not HTTP gets a problem document too.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from energy.http.problems import CONTENT_TYPE, Problem
from energy.http.responses import Receive, Scope, Send, respond_problem


def limited_protocol(  # noqa: C901 - a class in a closure: uvicorn makes the objects and passes no settings
    header_bytes_max: int, header_timeout_s: float
) -> type[HttpToolsProtocol]:
    """A protocol class with these limits, for `uvicorn.Config(http=...)`."""
    too_large = Problem("headers_too_large", f"The request line and headers may have at most {header_bytes_max} bytes.")

    async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond_problem(send, "", too_large)

    class LimitedProtocol(HttpToolsProtocol):
        _header_bytes = 0
        _in_headers = False
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
            super().connection_made(transport)
            self._deadline = self.loop.call_later(header_timeout_s, self._too_slow)

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
                self._deadline = self.loop.call_later(header_timeout_s, self._too_slow)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._header_bytes += len(name) + len(value)
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._in_headers = False
            self._no_deadline()
            if self._header_bytes > header_bytes_max:  # they came in one piece
                self.app = refuse
            super().on_headers_complete()

        def send_400_response(self, msg: str) -> None:
            self._refuse(Problem("bad_http", msg))

        def _too_slow(self) -> None:
            self._deadline = None
            if not self.transport.is_closing():
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
