"""uvicorn's HTTP protocol with the limits it lacks: on the size of headers, the time a request takes to arrive, connections.

All are needed before any application code runs. A request that is refused here still passes through the application, in
its turn: so its answer is counted, has an id, and can never overtake the answer of a request before it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from energy.wire.problems import Problem

_LINGER_S = 5.0
"""So long a client that is still sending may go on after its last answer. Closing at once would reset the connection, and
the client would lose the answer."""
_PIECE_BYTES, _PIECE_LINES = 4_096, 64
"""Most that the parser gets at once. A request or a chunk has two lines at least, so what is begun by one piece is bounded, too."""
_PIECES_AT_A_TIME = 8
_REFUSED_MAX = 100
"""Connections beyond the limit that get an answer; more are cut."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one connection, and of all."""

    header_bytes_max: int
    request_timeout_s: float
    connections_max: int


async def write_whole(cycle: RequestResponseCycle, status: int, head: bytes, body: bytes, *, keep_alive: bool) -> None:
    """Answers `cycle`'s request as two of uvicorn's `send` would, in one write instead of two. `head`: lines known to be valid."""
    if cycle.flow.write_paused:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.keep_alive = cycle.keep_alive and keep_alive
    content = [STATUS_LINE[status], *(b"%s: %s\r\n" % header for header in cycle.default_headers), head]
    content.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
    content.append(body)
    cycle.transport.write(b"".join(content))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


class _Transport:
    """The part of a transport that uvicorn uses. `close` waits for a client that is still sending."""

    __slots__ = ("_connection", "_raw", "is_closing", "pause_reading", "write")

    def __init__(self, raw: asyncio.Transport, connection: Connection) -> None:
        self._raw = raw
        self._connection = connection
        self.write = raw.write
        self.pause_reading = raw.pause_reading
        self.is_closing = raw.is_closing

    def resume_reading(self) -> None:
        """What has arrived already comes first."""
        if self._connection.holds_back:
            self._connection.read_on_soon()
        else:
            self._raw.resume_reading()

    def close(self) -> None:
        """Asked twice, without waiting."""
        if self._connection.still_sending and not self.is_closing() and self._raw.can_write_eof():
            self._raw.write_eof()
            self._raw.resume_reading()
            self._connection.loop.call_later(_LINGER_S, self._raw.abort)
        else:
            self._raw.close()
            if self._raw.get_write_buffer_size():  # it closes once the client has read that
                self._connection.loop.call_later(_LINGER_S, self.abort)
        self.is_closing = _closing

    def abort(self) -> None:
        """At once, also what the kernel still holds for a client that does not read it."""
        raw_socket = self._raw.get_extra_info("socket")
        if raw_socket is not None:
            raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._raw.abort()

    def lost(self) -> None:
        """Requests that are still worked on write their answers to nobody."""
        self.write = _to_nobody


def _to_nobody(data: object) -> None:  # noqa: ARG001 - as a transport names it
    return


def _closing() -> bool:
    return True


class Connection(HttpToolsProtocol):
    """One connection. `self._deadline` runs whenever neither an answer nor uvicorn's keep-alive timer is awaited."""

    def __init__(self, limits: ConnectionLimits, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._limits = limits
        self._header_bytes = self._piece_bytes = 0
        self._complete: object = None  # the scope of the last request that has arrived as a whole
        self._refused = self._ended = False
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._held, self._held_at = b"", 0
        self._reads_on = False
        self._guarded: _Transport | None = None

    @property
    def _in_headers(self) -> bool:
        return self._in_message and not (bool(self.cycle) and self.cycle.scope is self.scope)

    @property
    def _in_message(self) -> bool:
        return self.scope is not self._complete

    @property
    def still_sending(self) -> bool:
        """Whether the client may be in the middle of something that nobody will read."""
        if self._ended:
            return False
        return self._in_message or self._refused or (bool(self.cycle) and not self.cycle.keep_alive)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begins the wait for a request, or refuses the connection."""
        super().connection_made(transport)
        too_many = len(self.connections) - self._limits.connections_max
        if too_many > _REFUSED_MAX:
            transport.abort()
            return
        self._guarded = _Transport(transport, self)
        self.transport = self._guarded  # type: ignore[assignment]  # see there
        self.flow = FlowControl(self.transport)
        if too_many > 0:
            self._refuse(Problem("connections_busy", "Too many connections are open. Nothing was stored."))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the waits."""
        self._unwatch()
        self._stop_waiting_for_reader()
        self._held = b""
        if self._guarded is not None:
            self._guarded.lost()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read its answers, and they wait in memory: not for longer than we wait for a request."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._limits.request_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It does."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def data_received(self, data: bytes) -> None:
        """Reads it, or holds back what is more than a piece: a client that sends ahead must take neither memory nor the loop."""
        if self._refused or self.transport.is_closing():
            return
        if self._held or len(data) > _PIECE_BYTES or data.count(b"\n") > _PIECE_LINES:
            self._held, self._held_at = self._held[self._held_at :] + data, 0
            self._read_on()
        else:
            self._read(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's answers nothing, as if the client were gone
        """A client that has sent all it will may still read: what it has asked as a whole is answered, then the connection ends."""
        asked = bool(self.cycle) and (self._refused or self.cycle.scope is self._complete)
        if not asked or self.cycle.response_complete or self.transport.is_closing():
            return False
        self._ended = True
        self._unwatch()
        self.cycle.keep_alive = False
        return True

    @property
    def holds_back(self) -> bool:
        """Whether something has arrived that is not read yet."""
        return bool(self._held)

    def read_on_soon(self) -> None:
        """In the loop's next round."""
        if not self._reads_on:
            self._reads_on = True
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Some pieces of what is held back, as far as answers keep up."""
        self._reads_on = False
        for _ in range(_PIECES_AT_A_TIME):
            if self.pipeline:
                self.flow.pause_reading()
            if not self._held or self._refused or self.transport.is_closing() or self.flow.read_paused:
                break
            piece = self._held[self._held_at : self._held_at + _PIECE_BYTES]
            while piece.count(b"\n") > _PIECE_LINES:
                piece = piece[: len(piece) // 2]
            self._held_at += len(piece)
            if self._held_at >= len(self._held):
                self._held, self._held_at = b"", 0
            self._read(piece)
        if self._refused or self.transport.is_closing():
            self._held = b""
        elif self._held:
            self.transport.pause_reading()
            if not self.flow.read_paused:
                self.read_on_soon()
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def _read(self, data: bytes) -> None:
        """Has the parser read a piece. A request that has not arrived as a whole is waited for."""
        self._piece_bytes = len(data)
        super().data_received(data)
        if self._refused:
            return
        if self.scope is not self._complete or not bool(self.cycle) or self.cycle.response_complete:
            self._wait_for_more()

    def on_headers_complete(self) -> None:
        """The request can be answered."""
        upgrade = self.parser.should_upgrade()
        most = self._limits.header_bytes_max
        if (self._header_bytes or self._piece_bytes > most) and self._head_bytes() > most:
            self.scope["refusal"] = self._too_large()  # type: ignore[typeddict-unknown-key]  # for the application
        elif upgrade and any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            self.scope["refusal"] = Problem("bad_http", "A request with a body cannot be upgraded.")  # type: ignore[typeddict-unknown-key]  # as above
        self._header_bytes = 0
        super().on_headers_complete()
        if upgrade or "refusal" in self.scope:
            self.cycle.keep_alive = False  # the parser reads nothing more

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._complete = self.scope
        if self._deadline is not None:
            self._unwatch()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The parser has given up."""
        self._refuse(Problem("bad_http", msg))

    def _wait_for_more(self) -> None:
        """Counts headers that arrive in pieces: of the first piece those that are complete, then every byte."""
        if self._in_headers:
            self._header_bytes += self._piece_bytes if self._header_bytes else max(self._head_bytes(), 1)
            if self._header_bytes > self._limits.header_bytes_max:
                self._refuse(self._too_large())
        self._watch()

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
        if self.pipeline or self._held:  # it is us who do not read on, until the requests before it are answered
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
