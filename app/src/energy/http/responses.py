"""How an answer leaves: one place that counts it, times it, names it and asks clients to come back later.

Every response passes through `Reply`, whoever makes it, so no endpoint can forget the request's id or a metric.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import cache
from typing import Any

from prometheus_client import Counter, Histogram

from energy import metrics
from energy.logs import request_id
from energy.wire.problems import CONTENT_TYPE, Problem

Scope = MutableMapping[str, Any]
Headers = Mapping[bytes, bytes]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"application/json"
_MUST_CLOSE = frozenset({400, 408, 413, 431})
"""After these the rest of the request is not read, so the connection cannot carry another one."""


@cache
def _metrics_of(route: str, status: int) -> tuple[Counter, Histogram]:
    return metrics.REQUESTS.labels(route, str(status)), metrics.REQUEST_SECONDS.labels(route)


class Reply:
    """An ASGI `send` for one request. The metric's label is the path template, never a client's path."""

    __slots__ = ("_began", "_scope", "_send", "started")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        self.started = False

    def __call__(self, message: Message) -> Awaitable[None]:
        """Passes a message on."""
        if not self.started:
            self.started = True
            route = self._scope.get("route")
            counter, seconds = _metrics_of("other" if route is None else route.path_format, message["status"])
            counter.inc()
            seconds.observe(time.perf_counter() - self._began)
            message["headers"] = [*message["headers"], (b"x-request-id", request_id.get().encode())]
        return self._send(message)


async def respond(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = JSON,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """One complete response."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, problem: Problem, retry_after_s: int) -> None:
    """A problem document. Every 503 says when to come back."""
    headers = [*problem.headers]
    if problem.status == 503:  # noqa: PLR2004 - the status itself
        headers.append((b"retry-after", b"%d" % jittered(retry_after_s)))
    if problem.status in _MUST_CLOSE:
        headers.append((b"connection", b"close"))
    await respond(send, problem.status, problem.body(), content_type=CONTENT_TYPE, headers=headers)


def jittered(retry_after_s: int) -> int:
    """Around `retry_after_s`: clients that were refused together should not come back together."""
    return random.randint(1, 2 * retry_after_s - 1)  # noqa: S311 - jitter, not a secret
