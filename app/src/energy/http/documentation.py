"""`/docs` and `/problems` for people, `/openapi.json` for programs. Everything comes from here: it works in a closed network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]  # one path

from energy.wire.problems import KINDS, Problem, type_of

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Energy</title>
<link rel="stylesheet" href="/docs/ui/swagger-ui.css"><link rel="icon" href="/docs/ui/favicon-32x32.png"></head>
<body><div id="ui"></div><script src="/docs/ui/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
_START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", deepLinking: true});\n'
_PROBLEMS = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>body {{ max-width: 45rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif }}</style></head>
<body><main><h1>{title}</h1>
{body}
</main></body></html>
"""
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
            Route("/problems", self._problems),
            Route("/problems/{name}", self._problem),
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

    async def _problems(self, _request: Request) -> Response:
        rows = "".join(
            f'<li><a href="{type_of(code)}">{kind.status}: {kind.title}</a></li>\n' for code, kind in KINDS.items()
        )
        return _explained("Problems", f"<ul>\n{rows}</ul>")

    async def _problem(self, request: Request) -> Response:
        code = str(request.path_params["name"]).replace("-", "_")
        if code not in KINDS:
            raise Problem("not_found", "See /problems for what there is.")
        kind = KINDS[code]
        body = (
            f"<p>Status {kind.status}, code <code>{code}</code>. The answer's <code>detail</code> says what it is about.</p>\n"
            f"<h2>What holds</h2>\n<p>{_marked(kind.holds)}.</p>\n<h2>What to do</h2>\n<p>{_marked(kind.next)}.</p>\n"
            '<p><a href="/problems">All problems</a> · <a href="/docs">The API</a></p>'
        )
        return _explained(kind.title, body)


def _explained(title: str, body: str) -> Response:
    return HTMLResponse(_PROBLEMS.format(title=escape(title), body=body), headers=_ONLY_OURS)


def _marked(text: str) -> str:
    """One sentence as HTML, with its code spans."""
    whole = text[0].upper() + text[1:]
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(whole, quote=False))
