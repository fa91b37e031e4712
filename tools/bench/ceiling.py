"""The ceiling: the same server, decoder and answer as the hot path, and nothing behind them. `python -m tools.bench.ceiling FD`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from uuid import UUID

import msgspec
import uvicorn
import uvloop

from energy.http.responses import Receive, Scope, Send

BODY = b'{"reading_id":"00000000-0000-4000-8000-000000000000","status":"accepted","flags":[]}'


class Value(msgspec.Struct):
    """The task's body."""

    device_id: UUID
    value: int


_decode = msgspec.json.Decoder(Value).decode


async def app(_scope: Scope, receive: Receive, send: Send) -> None:
    """Decodes and answers 201."""
    _decode((await receive())["body"])
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def main() -> None:
    """Serves on an inherited socket until SIGTERM."""
    config = uvicorn.Config(
        app, lifespan="off", log_level="error", access_log=False, proxy_headers=False, ws="none", loop="none"
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[socket.socket(fileno=int(sys.argv[1]))]))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
