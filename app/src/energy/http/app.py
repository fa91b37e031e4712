"""The whole API as one ASGI application: gives each request its id, finds its endpoint, and answers whatever goes wrong.

One mapping of errors for all endpoints: whatever is refused, wherever, is a problem document. Single readings and batches
are found in a dictionary, everything else by Starlette's router.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Lifespan

from energy.http.body import ClientGone
from energy.http.responses import Headers, Receive, Reply, Scope, Send, refuse
from energy.logs import request_id
from energy.store.ports import StoreError
from energy.wire.problems import Problem

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(rb"[ -~]{1,64}").fullmatch
_PREFIX = os.urandom(4).hex().encode()
_numbers = itertools.count(1)
_ONCE = (b"host", b"authorization", b"idempotency-key", b"content-type", b"content-encoding", b"x-request-id")
_BY_STATUS = {
    404: ("not_found", "See /docs for what there is."),
    405: ("method_not_allowed", "The address exists, the method does not."),
}


class Application:
    """Dispatches by path. Routes without parameters never enter the router."""

    def __init__(self, routes: Sequence[BaseRoute], lifespan: Lifespan[Router], retry_after_s: int) -> None:
        self.routes = routes
        fixed = [route for route in routes if isinstance(route, Route) and not route.param_convertors]
        self._direct = {(route.path, method): route for route in fixed for method in route.methods or ()}
        self._router = Router(routes, redirect_slashes=False, lifespan=lifespan)
        self._retry_after_s = retry_after_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or runs the lifespan."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        headers: Headers = dict(scope["headers"])
        scope["header_map"] = headers
        given = headers.get(b"x-request-id")
        own_id = b"%s-%x" % (_PREFIX, next(_numbers))
        request_id.set(own_id if given is None or not _REQUEST_ID(given) else given)
        reply = Reply(scope, send)
        try:
            if (
                scope["http_version"] != "1.1"
                or len(headers) != len(scope["headers"])
                or "refusal" in scope
                or b"host" not in headers
            ):
                _refuse_bad_head(scope, headers)
            route = self._direct.get((scope["path"], scope["method"]))
            if route is not None:
                scope["route"] = route
                await route.app(scope, receive, reply)
            else:
                scope["app"] = self  # Starlette then raises what it doesn't find
                await self._router(scope, receive, reply)
        except ClientGone:
            log.debug("a client hung up before its request was complete")
        except Exception as error:
            if reply.started:
                raise  # the server cuts the connection, so that the client sees that the answer is not whole
            await refuse(reply, problem_for(error), self._retry_after_s)


def _refuse_bad_head(scope: Scope, headers: Headers) -> None:
    """Raises `Problem` for what cannot be answered by any endpoint: which of two keys counts must not be left open."""
    if "refusal" in scope:
        raise scope["refusal"]
    version = scope["http_version"]
    if version == "0.9" or (version == "1.1" and b"host" not in headers):
        raise Problem("bad_http", "Send HTTP/1.1 with a Host header, or HTTP/1.0.")
    if len(headers) != len(scope["headers"]):
        names = [name for name, _ in scope["headers"]]
        repeated = next((name for name in _ONCE if names.count(name) > 1), None)
        if repeated is not None:
            raise Problem("bad_header", f"{repeated.decode()} occurs more than once.")


def problem_for(error: Exception) -> Problem:
    """What a client is told about an error; a defect of ours is logged."""
    match error:
        case Problem():
            return error
        case StoreError():
            return Problem("database_unavailable", "The database cannot be asked now; nothing was stored.")
        case HTTPException():
            code, detail = _BY_STATUS.get(error.status_code, ("malformed", str(error.detail)))
            return Problem(
                code, detail, [(name.encode(), value.encode()) for name, value in (error.headers or {}).items()]
            )
        case _:
            log.error("a request failed", exc_info=error)
            return Problem("internal", "It may not be stored. Send it again with its id.")
