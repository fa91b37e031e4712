"""`/docs` for people and `/openapi.json` for programs. Everything comes from here: it works in a closed network."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]  # one path

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Energy</title>
<link rel="stylesheet" href="/docs/ui/swagger-ui.css"><link rel="icon" href="/docs/ui/favicon-32x32.png"></head>
<body><div id="ui"></div><script src="/docs/ui/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
_START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", deepLinking: true});\n'
_ONLY_OURS = {"content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"}


@dataclass(frozen=True, slots=True)
class Documentation:
    """The pages; `document` is the OpenAPI document."""

    document: dict[str, object]

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        return [
            Route("/", self._home),
            Route("/openapi.json", self._openapi),
            Route("/docs", self._docs),
            Route("/docs/start.js", self._start),
            Mount("/docs/ui", StaticFiles(directory=str(swagger_ui_path))),
        ]

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse("/docs")

    async def _openapi(self, _request: Request) -> Response:
        return Response(msgspec.json.encode(self.document), media_type="application/json")

    async def _docs(self, _request: Request) -> Response:
        return HTMLResponse(_PAGE, headers=_ONLY_OURS)

    async def _start(self, _request: Request) -> Response:
        return Response(_START, media_type="text/javascript")
