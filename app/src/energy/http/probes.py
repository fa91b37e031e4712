"""`/livez`, `/readyz` and `/metrics`: what machines ask before any reading is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from energy import __version__, metrics
from energy.http.queries import json
from energy.wire.problems import Problem

Complaint = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Probes:
    """`complaint` says why the service is not ready, or nothing."""

    complaint: Complaint

    async def livez(self, _request: Request) -> Response:
        """Alive: the event loop turns. Never asks the database: restarting a pod repairs no database."""
        return json({"status": "alive", "version": __version__})

    async def readyz(self, _request: Request) -> Response:
        """Ready to take readings."""
        why = await self.complaint()
        if why is not None:
            raise Problem("not_ready", why)
        return json({"status": "ready"})

    async def metrics(self, _request: Request) -> Response:
        """For Prometheus."""
        return Response(metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
