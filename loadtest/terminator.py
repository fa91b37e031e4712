"""Ends TLS in front of one address, with a certificate made at its start: `python -m loadtest.terminator HOST PORT`.

It stands for the proxy that is in front of the service everywhere but on a developer's machine, so that handshakes can be
counted without installing one. Says its port in one line, and works until it is told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import sys

import trustme

CHUNK_BYTES = 65_536
BACKLOG = 1_024


def server_context() -> ssl.SSLContext:
    """TLS 1.3 with a P-256 certificate that nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction of a connection, until either side ends it."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(host: str, port: int) -> None:
    """Until SIGTERM."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(host, port)
        except OSError:  # the service is away: the client sees its connection end
            writer.close()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=server_context(), backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
