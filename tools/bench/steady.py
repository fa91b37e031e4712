"""Open loop: a request at every tick, whether the one before is answered or not, as clients come by themselves.

wrk asks again when it is answered, so a slow moment costs it few requests; here it costs every request that falls into it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from uuid import uuid4

from tools.bench import servers
from tools.bench.load import Point, console

CONNECTIONS = 128


class _Clients:
    """Connections that are free, and what the answers took."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._address = (host, port)
        self._head = f"POST /v1/readings HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.took_ms: list[float] = []
        self.refused = 0

    async def connect(self) -> None:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await asyncio.open_connection(*self._address))

    async def ask(self, due: float) -> None:
        """One reading. Its time counts from when it was due."""
        reader, writer = await self._free.get()
        body = f'{{"device_id":"{uuid4()}","value":7}}'
        writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        self.took_ms.append((time.perf_counter() - due) * 1000)
        self.refused += not head.startswith(b"HTTP/1.1 20")
        self._free.put_nowait((reader, writer))


async def _drive(clients: _Clients, rate: int, seconds: float) -> None:
    await clients.connect()
    began = time.perf_counter()
    async with asyncio.TaskGroup() as asked:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (early_s := due - time.perf_counter()) > 0:
                await asyncio.sleep(early_s)
            asked.create_task(clients.ask(due))


def steady(
    what: str, table: str, server: servers.Server, rate: int, seconds: float, *, postgres: Sequence[int], token: str
) -> Point:
    """One point at a fixed rate."""
    host, _, port = server.base.removeprefix("http://").partition(":")
    clients = _Clients(host, int(port), token)
    before, postgres_before = server.cpu_s(), servers.cpu_s(postgres)
    began = time.perf_counter()
    asyncio.run(_drive(clients, rate, seconds))
    spent = time.perf_counter() - began
    took = sorted(clients.took_ms)
    each = 1e6 / len(took)
    point = Point(
        what, table, CONNECTIONS, (len(took) - clients.refused) / spent, took[len(took) // 2], took[int(len(took) * 0.99)],
        took[-1], clients.refused, service_cpu_us=(server.cpu_s() - before) * each,
        postgres_cpu_us=(servers.cpu_s(postgres) - postgres_before) * each,
    )  # fmt: skip
    console.print(
        f"  {what:<28} {table:<6} {point.rate:>9,.0f}/s  p50 {point.p50_ms:.1f}, p99 {point.p99_ms:.1f} ms"
        f" CPU a request: service {point.service_cpu_us:.0f} µs, PostgreSQL {point.postgres_cpu_us:.0f} µs"
    )
    return point
