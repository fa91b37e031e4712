"""How an answer leaves: one place that counts it, times it, names it and asks clients to come back later.

Every response passes through `Reply`, whoever makes it, so no endpoint can forget the request's id or a metric.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from energy import metrics
from energy.http.connection import write_whole
from energy.logs import request_id
from energy.wire.problems import CONTENT_TYPE, Problem

Scope = MutableMapping[str, Any]
Headers = Mapping[bytes, bytes]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"application/json"
_CLOSE: tuple[list[tuple[bytes, bytes]], ...] = ([], [(b"connection", b"close")])
_MUST_CLOSE = frozenset({400, 408, 413, 431})
"""After these the rest of the request is not read, so the connection cannot carry another one."""


class Reply:
    """The answer to one request: `whole` for one that is complete, or an ASGI `send` for what comes in parts.

    The metric's label is the path template, never a client's path.
    """

    __slots__ = ("_began", "_scope", "_send", "started")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        self.started = False

    async def __call__(self, message: Message) -> None:
        """Passes a message on."""
        if not self.started:
            self._count(message["status"])
            message["headers"] = [*message["headers"], (b"x-request-id", request_id.get())]
        await self._send(message)

    async def whole(
        self, status: int, body: bytes, content_type: bytes = JSON, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """One complete answer, in one write unless somebody stands between the application and the connection."""
        cycle = getattr(self._send, "__self__", None)
        if not isinstance(cycle, RequestResponseCycle) or cycle.access_log or self._scope["method"] == "HEAD":
            length = (b"content-length", b"%d" % len(body))
            head = [(b"content-type", content_type), length, *headers, *_CLOSE[status in _MUST_CLOSE]]
            await self({"type": "http.response.start", "status": status, "headers": head})
            await self({"type": "http.response.body", "body": body})
            return
        self._count(status)
        more = b"".join([b"%s: %s\r\n" % header for header in headers]) if headers else b""
        await write_whole(
            cycle, status,
            b"content-type: %s\r\ncontent-length: %d\r\nx-request-id: %s\r\n%s"
            % (content_type, len(body), request_id.get(), more),
            body, keep_alive=status not in _MUST_CLOSE,
        )  # fmt: skip

    def _count(self, status: int) -> None:
        self.started = True
        route = self._scope.get("route")
        path = "other" if route is None else route.path_format
        metrics.answered[path, status].append(time.perf_counter() - self._began)


async def refuse(reply: Reply, problem: Problem, retry_after_s: int) -> None:
    """A problem document. Every 503 says when to come back."""
    headers = [*problem.headers]
    if problem.status == 503:  # noqa: PLR2004 - the status itself
        headers.append((b"retry-after", b"%d" % jittered(retry_after_s)))
    await reply.whole(problem.status, problem.body(), CONTENT_TYPE, headers)


def jittered(retry_after_s: int) -> int:
    """Around `retry_after_s`: clients that were refused together should not come back together."""
    return random.randint(1, 2 * retry_after_s - 1)  # noqa: S311 - jitter, not a secret
