"""A wire that is longer: a proxy before the database that passes every byte on a fixed time later, in both directions."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

_PIECE = 65_536


class Delay:
    """Runs in a thread between `__enter__` and `__exit__`; `dsn` leads through it. `one_way_s`: half of what a round trip gets."""

    def __init__(self, dsn: str, one_way_s: float) -> None:
        there = urlsplit(dsn)
        folder = parse_qs(there.query)["host"][0]
        self._socket = Path(folder) / f".s.PGSQL.{there.port or 5432}"
        self._path = f"{there.username}@{{address}}{there.path}"
        self._one_way_s = one_way_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.dsn = ""

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        host, port = listening.result(10).sockets[0].getsockname()
        self.dsn = "postgresql://" + self._path.format(address=f"{host}:{port}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(str(self._socket))
        await asyncio.gather(self._pass_on(reader, there_writer), self._pass_on(there_reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All pieces wait for the same time, so they stay in order."""
        while piece := await reader.read(_PIECE):
            self._loop.call_later(self._one_way_s, writer.write, piece)
        self._loop.call_later(self._one_way_s, writer.close)
