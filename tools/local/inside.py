"""The whole service inside this process, answering on connections that are not sockets.

What runs between a request's bytes and its answer's is the product's own: connection, application, queue, database. No
kernel, client or second process stands between, so a profiler or a counter of instructions sees that and nothing else.
Called by the walk (`tools/walk.py`) and the instruction budget (`tools/bench/budget.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4, uuid5

from energy.http.auth import key_from_token
from energy.server import Server
from energy.service import Service, database_of
from energy.settings import Settings
from energy.store.postgres.database import UnsafeDatabase
from energy.store.postgres.keys import PostgresKeys

TOKEN = "inside.0123456789abcdef0123456789abcdef"  # noqa: S105 - a key of a database that is thrown away
_METERS = UUID("5b1f0c52-7d64-5f0a-9d3c-6a5f6f9b7e12")
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Wire(asyncio.Transport):
    """One connection. `ask` gives the service a request's bytes and returns its answer's."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._answer = bytearray()
        self._answered: asyncio.Future[bytes] | None = None
        self._protocol: asyncio.Protocol = server.config.http_protocol_class(  # type: ignore[call-arg]  # it is a partial
            config=server.config, server_state=server.server_state, app_state={}
        )
        self._protocol.connection_made(self)

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """The request arrives now, as one piece; the future has its answer when its last byte is written."""
        self._answered = self._loop.create_future()
        self._protocol.data_received(request)
        return self._answered

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """A part of the answer."""
        self._answer += data
        length = _LENGTH.search(self._answer)
        if length is None or self._answered is None:
            return
        _, _, body = self._answer.partition(b"\r\n\r\n")
        if len(body) >= int(length[1]):
            self._answered.set_result(bytes(self._answer))
            self._answer.clear()
            self._answered = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses like those of a TCP connection on this machine."""
        return ("127.0.0.1", 8000) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        """Never: nobody closes it."""
        return False

    def close(self) -> None:
        """Hangs up."""
        self._protocol.connection_lost(None)

    def pause_reading(self) -> None:
        """Nothing arrives unasked."""

    def resume_reading(self) -> None:
        """As above."""

    def writelines(self, list_of_data: Any) -> None:
        """Several parts at once."""
        self.write(b"".join(list_of_data))


async def prepare(dsn: str) -> None:
    """The schema and the key `TOKEN` in an empty database."""
    from energy.store import migrations  # noqa: PLC0415 - takes as long to load as the service

    await migrations.migrate(dsn, cockroach=False, timeout_s=10)
    _, key = key_from_token(TOKEN, frozenset({"admin"}), None, None, None)
    database = database_of(Settings.model_construct(), dsn)
    await PostgresKeys(database, 10).create([(key, "inside")])
    await database.close()


@contextlib.asynccontextmanager
async def running(dsn: str) -> AsyncIterator[Server]:
    """The service with default settings on a prepared database; no environment changes them."""
    defaults = Settings.model_construct()
    service = Service(defaults, dsn, on_unsafe=_give_up)
    await service.start()
    server = Server(service.app, defaults, service)
    server.config.load()
    try:
        yield server
    finally:
        await service.stop()


def _give_up(error: UnsafeDatabase) -> None:
    raise error


def reading(number: int) -> bytes:
    """One POST /v1/readings of the meter of that number, with a key for repeating it."""
    body = f'{{"device_id":"{uuid5(_METERS, str(number))}","value":10432.5}}'
    return _post("/v1/readings", "application/json", body, f"Idempotency-Key: reading-{number:08}\r\n")


def batch(rows: int) -> bytes:
    """One POST /v1/readings/batch of so many new ones, as CSV."""
    lines = (f"{uuid4()},{uuid4()},T0,10432.5,2026-11-20T10:00:00Z" for _ in range(rows))
    return _post("/v1/readings/batch", "text/csv", "\n".join(["device_id,reading_id,register,value,read_at", *lines]))


def _post(path: str, content_type: str, body: str, more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: {content_type}\r\n"
    return f"{head}Authorization: Bearer {TOKEN}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()
