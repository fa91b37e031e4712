"""The whole API as one ASGI application: hand-written endpoints first, FastAPI for the rest.

One error mapping for both: whatever is refused, wherever, is a problem document.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from energy import __version__, metrics
from energy.http.endpoint import Endpoint
from energy.http.openapi import document_hand_written
from energy.http.reads import ReadingSide
from energy.http.responses import Headers, Message, Receive, Scope, Send, respond_problem
from energy.logs import request_id
from energy.wire.problems import CONTENT_TYPE, Problem

_REQUEST_ID_MAX = 64
_PREFIX = os.urandom(4).hex()
_numbers = itertools.count(1)

Complaint = Callable[[], Awaitable[str | None]]


class Application:
    """Dispatches by path; a request for a hand-written endpoint never enters the framework."""

    def __init__(self, endpoints: Mapping[str, Endpoint], rest: FastAPI) -> None:
        self._endpoints = endpoints
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or runs the lifespan."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        headers: Headers = dict(scope["headers"])
        scope["header_map"] = headers
        request_id.set(_id_of(headers))
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None:
            await self._rest(scope, receive, _counting(scope, send))
        elif scope["method"] == "POST":
            await endpoint(scope, receive, send)
        else:
            only_post = Problem("method_not_allowed", f"{scope['path']} takes POST.", [(b"allow", b"POST")])
            await respond_problem(send, endpoint.route, only_post)


def _id_of(headers: Headers) -> str:
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    if given and len(given) <= _REQUEST_ID_MAX and given.isascii() and given.isprintable():
        return given
    return f"{_PREFIX}-{next(_numbers):x}"


def _counting(scope: Scope, send: Send) -> Send:
    async def counted(message: Message) -> None:
        if message["type"] == "http.response.start":
            route = getattr(scope.get("route"), "path", "other")
            metrics.REQUESTS.labels(route, str(message["status"])).inc()
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.get().encode())]
        await send(message)

    return counted


def framework(reads: ReadingSide, complaint: Complaint) -> FastAPI:
    """Everything that is not on the hot path. `complaint` says why the service is not ready, or nothing."""
    app = FastAPI(
        title="Energy",
        version=__version__,
        summary="Takes electricity meter readings: acknowledged means committed.",
        redirect_slashes=False,
        redoc_url=None,
    )
    app.include_router(reads.router())
    _add_probes(app, complaint)
    _add_problem_handlers(app)
    document_hand_written(app)
    return app


def _add_probes(app: FastAPI, complaint: Complaint) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> dict[str, str]:
        """Alive: the event loop turns. Never asks the database: restarting a pod mends no database."""
        return {"status": "alive", "version": __version__}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> dict[str, str]:
        why = await complaint()
        if why is not None:
            raise Problem("not_ready", why)
        return {"status": "ready"}

    @app.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        return Response(metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_problem_handlers(app: FastAPI) -> None:
    def response(problem: Problem) -> Response:
        headers = {name.decode(): value.decode() for name, value in problem.headers}
        return Response(problem.body(), problem.status, headers, CONTENT_TYPE.decode())

    @app.exception_handler(Problem)
    async def on_problem(_request: Request, problem: Problem) -> Response:
        return response(problem)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return response(Problem("invalid", f"`{where}`: {first['msg']}."))

    @app.exception_handler(HTTPException)
    async def on_http(_request: Request, error: HTTPException) -> Response:
        headers = [(name.encode(), value.encode()) for name, value in (error.headers or {}).items()]
        if error.status_code == 405:  # noqa: PLR2004 - the status itself
            return response(Problem("method_not_allowed", "The address exists, the method does not.", headers))
        if error.status_code == 404:  # noqa: PLR2004 - the status itself
            return response(Problem("not_found", "See /docs for what there is.", headers))
        return response(Problem("malformed", str(error.detail), headers))

    @app.exception_handler(Exception)
    async def on_defect(_request: Request, _error: Exception) -> Response:
        return response(Problem("internal", "The request was not completed. Its id is in the X-Request-Id header."))
