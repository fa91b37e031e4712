"""uvicorn's HTTP protocol with the limits it lacks: on the size of headers, the time a request takes to arrive, connections.

All are needed before any application code runs. A request that is refused here still passes through the application, in
its turn: so its answer is counted, has an id, and can never overtake the answer of a request before it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from energy.wire.problems import Problem

_LINGER_S = 5.0
"""So long a client that is still sending may go on after its last answer. Closing at once would reset the connection, and
the client would lose the answer."""
_REFUSED_MAX = 100
"""Connections beyond the limit that get an answer; more are cut."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one connection, and of all."""

    header_bytes_max: int
    request_timeout_s: float
    connections_max: int


class _Transport:
    """The part of a transport that uvicorn uses. `close` waits for a client that is still sending.

    uvicorn writes an answer's head and body one after the other; they leave together, in one system call.
    """

    __slots__ = ("_connection", "_parts", "_raw", "closed")

    def __init__(self, raw: asyncio.Transport, connection: Connection) -> None:
        self._raw = raw
        self._connection = connection
        self._parts: list[bytes] = []
        self.closed = False

    def write(self, part: bytes) -> None:
        if not self._parts:
            self._connection.loop.call_soon(self._flush)
        self._parts.append(part)

    def _flush(self) -> None:
        if self._parts:
            self._raw.write(b"".join(self._parts))
            self._parts.clear()

    def is_closing(self) -> bool:
        return self.closed or self._raw.is_closing()

    def close(self) -> None:
        self._flush()
        if self._connection.still_sending and not self.closed and self._raw.can_write_eof():
            self._raw.write_eof()
            self._raw.resume_reading()
            self._connection.loop.call_later(_LINGER_S, self._raw.close)
        else:
            self._raw.close()
        self.closed = True


class Connection(HttpToolsProtocol):
    """One connection. `self._deadline` runs whenever neither an answer nor uvicorn's keep-alive timer is awaited."""

    def __init__(self, limits: ConnectionLimits, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._limits = limits
        self._header_bytes = self._piece_bytes = 0
        self._in_headers = False
        self._in_message = False
        self._refused = False
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def still_sending(self) -> bool:
        """Whether the client may be in the middle of something that nobody will read."""
        return self._in_message or self._refused or (bool(self.cycle) and not self.cycle.keep_alive)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begins the wait for a request, or refuses the connection."""
        super().connection_made(transport)
        too_many = len(self.connections) - self._limits.connections_max
        if too_many > _REFUSED_MAX:
            transport.abort()
            return
        self.transport = _Transport(transport, self)  # type: ignore[assignment]  # see there
        if too_many > 0:
            self._refuse(Problem("connections_busy", "Too many connections are open. Nothing was stored."))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the wait."""
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts headers that arrive in pieces, and throws away what follows a refusal."""
        if self._refused or self.transport.is_closing():
            return
        goes_on = self._in_headers
        self._piece_bytes = len(data)
        if goes_on:
            self._header_bytes += self._piece_bytes
        super().data_received(data)
        if goes_on and self._in_headers and self._header_bytes > self._limits.header_bytes_max:
            self._refuse(self._too_large())
        self._watch()

    def on_message_begin(self) -> None:
        """The first byte of a request line."""
        super().on_message_begin()
        self._in_headers = self._in_message = True
        self._header_bytes = 0

    def on_headers_complete(self) -> None:
        """The request can be answered."""
        self._in_headers = False
        upgrade = self.parser.should_upgrade()
        most = self._limits.header_bytes_max
        if self._header_bytes + self._piece_bytes > most and self._head_bytes() > most:
            self.scope["refusal"] = self._too_large()  # type: ignore[typeddict-unknown-key]  # for the application
        elif upgrade and any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            self.scope["refusal"] = Problem("bad_http", "A request with a body cannot be upgraded.")  # type: ignore[typeddict-unknown-key]  # as above
        super().on_headers_complete()
        if upgrade or "refusal" in self.scope:
            self.cycle.keep_alive = False  # the parser reads nothing more

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._in_message = False
        self._unwatch()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The parser has given up."""
        self._refuse(Problem("bad_http", msg))

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _too_large(self) -> Problem:
        return Problem(
            "headers_too_large", f"The request line and headers may have at most {self._limits.header_bytes_max} bytes."
        )

    def _watch(self) -> None:
        answering = bool(self.cycle) and not self.cycle.response_complete
        if self._deadline is None and (self._in_message or not answering) and self.timeout_keep_alive_task is None:
            self._deadline = self.loop.call_later(self._limits.request_timeout_s, self._too_slow)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.pipeline:  # it is us who do not read on, until the requests before it are answered
            self._watch()
        elif self._in_message:
            detail = f"A request has to arrive within {self._limits.request_timeout_s:g} s."
            self._refuse(Problem("body_timeout", detail))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Has the application answer with `problem`, in the turn of the request that is arriving; nothing more is read."""
        self._refused = True
        self._unwatch()
        if self._in_message and not self._in_headers:  # it has its turn already, and its body is what is wrong
            cycle = self.cycle
            cycle.scope["refusal"] = problem  # type: ignore[typeddict-unknown-key]  # as above
        else:
            if not self._in_message:
                super().on_message_begin()
            self.url = b"/"
            self.scope["refusal"] = problem  # type: ignore[typeddict-unknown-key]  # as above
            super().on_headers_complete()
            cycle = self.cycle
        cycle.keep_alive = cycle.more_body = False
        cycle.message_event.set()
        if cycle.response_complete:
            self.transport.close()
