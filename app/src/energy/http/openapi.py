"""Documents the hand-written endpoints, so that /docs shows one API whoever implements a path."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI

from energy.http.batch import BatchResult
from energy.wire.answers import Receipt
from energy.wire.bodies import ReadingIn, ValueIn
from energy.wire.problems import KINDS

Document = dict[str, Any]
"""JSON by nature; FastAPI's own type for it is the same."""

_TEMPLATE = "#/components/schemas/{name}"
_KEY_HEADER: Document = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
    "description": "Sending the same key for the same device again stores nothing twice.",
}
_ATOMIC: Document = {"name": "atomic", "in": "query", "schema": {"type": "boolean", "default": False}}


def document_hand_written(app: FastAPI) -> None:
    """Adds the paths that FastAPI doesn't route to what it generates."""
    generated = app.openapi

    def openapi() -> Document:
        if app.openapi_schema is None:
            document = generated()
            _, components = msgspec.json.schema_components(
                [ValueIn, ReadingIn, Receipt, BatchResult], ref_template=_TEMPLATE
            )
            document.setdefault("components", {}).setdefault("schemas", {}).update(components)
            document["components"]["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "<id>.<secret>"}
            }
            document["security"] = [{"key": []}]
            for operation in (method for path in document["paths"].values() for method in path.values()):
                _say_problem_json(operation["responses"])
            document["paths"]["/v1/window"]["get"]["security"] = []  # anybody may ask
            document["paths"].update(_paths())
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents for extending the document


def _say_problem_json(responses: Document) -> None:
    """FastAPI documents every model as application/json; refusals are sent as problem documents."""
    for status, response in responses.items():
        if int(status) >= 400 and "application/json" in response.get("content", {}):  # noqa: PLR2004 - where refusals begin
            response["content"] = {"application/problem+json": response["content"]["application/json"]}


def _paths() -> Document:
    value = _single("One value of the task's API.", "ValueIn")
    ordered = _single("The same, always in order: never two database writes at once.", "ValueIn")
    reading = _single("One reading; 201 is sent after COMMIT.", "ReadingIn")
    return {
        "/v1/values": {"post": {**value, "operationId": "post_value"}},
        "/v2/values": {"post": {**ordered, "operationId": "post_value_ordered"}},
        "/v1/readings": {"post": {**reading, "operationId": "post_reading"}},
        "/v1/readings/batch": {"post": _batch()},
    }


def _single(summary: str, body: str) -> Document:
    receipt = _json({"$ref": _TEMPLATE.format(name="Receipt")})
    return {
        "summary": summary,
        "tags": ["readings"],
        "parameters": [_KEY_HEADER],
        "requestBody": {"required": True, "content": _json({"$ref": _TEMPLATE.format(name=body)})},
        "responses": {
            "201": {"description": "Committed.", "content": receipt},
            "200": {"description": "It was committed before; this is the first answer again.", "content": receipt},
            **_problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
        },
    }


def _batch() -> Document:
    items = {"type": "array", "minItems": 1, "maxItems": 10_000, "items": {"$ref": _TEMPLATE.format(name="ReadingIn")}}
    text = {"schema": {"type": "string"}}
    return {
        "summary": "Many readings; each gets its own result, or with atomic=true all are stored or none.",
        "operationId": "post_batch",
        "tags": ["readings"],
        "parameters": [_ATOMIC],
        "requestBody": {"required": True, "content": {**_json(items), "application/x-ndjson": text, "text/csv": text}},
        "responses": {
            "200": {
                "description": "A result for each item.",
                "content": _json({"$ref": _TEMPLATE.format(name="BatchResult")}),
            },
            **_problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
        },
    }


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}


def _problems(*statuses: int) -> Document:
    content = {"application/problem+json": {"schema": {"$ref": _TEMPLATE.format(name="ProblemOut")}}}
    return {
        str(status): {
            "description": "; ".join(sorted(k.title for k in KINDS.values() if k.status == status)),
            "content": content,
        }
        for status in statuses
    }
