"""A TCP proxy between the service and a real PostgreSQL that breaks the connection where it hurts.

It understands just enough of the protocol to know that the server has committed: a `CommandComplete` of an INSERT and the
`ReadyForQuery` behind it, which PostgreSQL sends after COMMIT. Connect through it with `sslmode=disable`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Self

_INSERTED = b"C"
_READY = b"Z"
_HEADER_BYTES = 5


_SO_ATTACH_FILTER = 26  # the socket module has no name for it
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A socket filter of one instruction: keep nothing of any packet."""


class Link:
    """One client's connection to the server."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.client, self.server = client, server
        self.dead = False

    def cut(self) -> None:
        """Both ends at once, without a goodbye."""
        for _, writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """Listens on a port of its own on the loopback, in a thread of its own: tests wait, the proxy must not.

    Faults are switched on and off by its methods; `cuts` counts what it has cut.
    """

    def __init__(self, socket_dir: Path, server_port: int = 5432) -> None:
        self._upstream = str(socket_dir / f".s.PGSQL.{server_port}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._listener: asyncio.Server | None = None
        self._links: set[Link] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cuts_after_commit = 0
        self._cuts_before_commit = 0
        self._delay_s = 0.0
        self.cuts = 0
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def dsn(self, direct: str) -> str:
        """The same database as `direct`, reached through the proxy."""
        database = direct.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # ── faults ───────────────────────────────────────────────────────────────────────────────────

    def cut_after_commit(self, times: int) -> None:
        """The next answers to an INSERT are thrown away and the connection with them: committed, and never told."""
        self._cuts_after_commit = times

    def cut_before_commit(self, times: int) -> None:
        """The next statements are thrown away on their way to the server: certainly not committed."""
        self._cuts_before_commit = times

    def slow_down(self, delay_s: float) -> None:
        """Everything that the server says arrives later by this."""
        self._delay_s = delay_s

    def swallow(self) -> None:
        """Bytes go nowhere, connections stay open: a firewall that drops packets."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def vanish(self) -> None:
        """The machine behind the connections loses its power: nothing is answered, not even by its kernel. New ones get through."""
        self._do(self._vanish())

    def lead_to(self, socket_dir: Path) -> None:
        """New connections reach another server, as when a name is moved after a failover."""
        self._upstream = str(socket_dir / ".s.PGSQL.5432")

    def refuse(self) -> None:
        """No connection is there and none can be made."""
        self._do(self._refuse())

    def heal(self) -> None:
        """No faults from now on. Swallowed connections stay dead: a firewall has forgotten them."""
        self._cuts_after_commit = self._cuts_before_commit = 0
        self._delay_s = 0.0
        self._do(self._let_flow())

    async def _vanish(self) -> None:
        for link in self._links:
            _deafen(link.client[1].get_extra_info("socket"))

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for link in list(self._links):
            link.cut()

    async def _let_flow(self) -> None:
        if not self._flowing.is_set():
            for link in self._links:
                link.dead = True
            self._flowing.set()
        await self._listen()

    async def _end(self) -> None:
        await self._refuse()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    # ── the way through ──────────────────────────────────────────────────────────────────────────

    async def _listen(self) -> None:
        """Takes connections, on the same port every time."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._flowing.wait()
            server = await asyncio.open_unix_connection(self._upstream)
        except (OSError, asyncio.CancelledError):  # the server is down: so is the way to it
            writer.transport.abort()
            return
        link = Link((reader, writer), server)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(link, reader, server[1], self._towards_server))
                both.create_task(self._pump(link, server[0], writer, _Answers(self._towards_client)))
        finally:
            self._links.discard(link)
            link.cut()

    async def _pump(
        self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, look: Callable[[bytes], bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65_536):
                await self._flowing.wait()
                if link.dead:
                    continue
                if look(chunk):
                    self.cuts += 1
                    break
                if self._delay_s and source is link.server[0]:
                    await asyncio.sleep(self._delay_s)
                sink.write(chunk)
                await sink.drain()
        link.cut()

    def _towards_server(self, chunk: bytes) -> bool:
        """Whether to cut: a statement that is to be executed begins with its Bind message."""
        if not (self._cuts_before_commit and chunk.startswith(b"B")):
            return False
        self._cuts_before_commit -= 1
        return True

    def _towards_client(self, inserted: bool) -> bool:  # noqa: FBT001 - the only thing there is to know
        if not (inserted and self._cuts_after_commit):
            return False
        self._cuts_after_commit -= 1
        return True


def _deafen(connection: socket.socket) -> None:
    program = ctypes.create_string_buffer(_DROP_ALL, len(_DROP_ALL))
    described = struct.pack("@HP", 1, ctypes.addressof(program))
    connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


class _Answers:
    """Finds the answer to a committed INSERT in what the server sends; `decide` then says whether to cut."""

    def __init__(self, decide: Callable[[bool], bool]) -> None:
        self._decide = decide
        self._left = b""
        self._inserted = False

    def __call__(self, chunk: bytes) -> bool:
        data, at = self._left + chunk, 0
        cut = False
        while len(data) - at >= _HEADER_BYTES:
            end = at + 1 + int.from_bytes(data[at + 1 : at + _HEADER_BYTES], "big")
            if end > len(data):
                break
            kind = data[at : at + 1]
            if kind == _INSERTED and data[at + _HEADER_BYTES : end].startswith(b"INSERT"):
                self._inserted = True
            elif kind == _READY:
                cut = cut or self._decide(self._inserted)
                self._inserted = False
            at = end
        self._left = data[at:]
        return cut
