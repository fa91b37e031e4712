"""Sends a whole response over ASGI, counts it, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import cache
from typing import Any

from prometheus_client import Counter

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
def _counter(route: str, status: int) -> Counter:
    return metrics.REQUESTS.labels(route, str(status))


async def respond(
    send: Send,
    route: str,
    status: int,
    body: bytes,
    *,
    content_type: bytes = JSON,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """One complete response. `route` is the metric's label: a path template, never a client's path."""
    _counter(route, status).inc()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", b"%d" % len(body)),
                (b"x-request-id", request_id.get().encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def respond_problem(
    send: Send, route: str, problem: Problem, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """A refusal; see `Problem`."""
    close = [(b"connection", b"close")] if problem.status in _MUST_CLOSE else []
    await respond(
        send,
        route,
        problem.status,
        problem.body(),
        content_type=CONTENT_TYPE,
        headers=[*problem.headers, *headers, *close],
    )
