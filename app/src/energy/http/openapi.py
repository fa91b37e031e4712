"""The OpenAPI document, written from one table of operations and the shapes that the endpoints decode and encode.

A contract test holds it to the truth in both directions: what is answered is documented, what is documented is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from energy import __version__
from energy.http.billing import ExportParameters, ProgressParameters, WindowParameters
from energy.http.corrections import ReadingPath
from energy.http.history import AccountPath, DevicePath, HistoryParameters
from energy.http.keys import KEYS_AT_ONCE_MAX, KeyIn, KeyPage, KeyParameters, KeyPath, NewKeys
from energy.wire.answers import BatchResult, HistoryPage, ProblemOut, ProgressOut, Receipt, WindowOut
from energy.wire.bodies import CorrectionIn, ReadingIn, ValueIn
from energy.wire.problems import KINDS

Document = dict[str, Any]
"""JSON by nature."""

Answers = dict[int, Document]

_TEMPLATE = "#/components/schemas/{name}"
_REFUSED_ANYWHERE = ("bad_http", "body_timeout", "headers_too_large", "internal", "connections_busy")
_REFUSED_BY_KEY = ("bad_header", "unauthenticated", "forbidden", "rate_limited", "database_unavailable")
_REFUSED_QUERY = (*_REFUSED_BY_KEY, "malformed", "invalid")
_REFUSED_READING = (
    "malformed", "unsupported_media_type", "too_large", "invalid", "id_taken", "less_than_previous", "doubtful", "unstorable",
    "overloaded", "outcome_unknown",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that the document tells."""

    body_bytes_max: int
    batch_body_bytes_max: int
    batch_items_max: int
    history_items_max: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One path and method. `refusals`: the codes of the problems that it may answer, beyond those of every request."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    answers: Answers
    refusals: Sequence[str]
    parameters: Sequence[Document] = ()
    body: Document | None = None
    secured: bool = True


def document(limits: Limits) -> Document:
    """The whole document."""
    shapes = [
        ValueIn,
        ReadingIn,
        CorrectionIn,
        Receipt,
        BatchResult,
        HistoryPage,
        WindowOut,
        ProgressOut,
        ProblemOut,
        KeyIn,
        NewKeys,
        KeyPage,
    ]
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_TEMPLATE)
    paths: Document = {}
    for operation in _operations(limits):
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Energy",
            "version": __version__,
            "summary": "Takes electricity meter readings: acknowledged means committed.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": _HEADERS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "<id>.<secret>"}},
        },
        "security": [{"key": []}],
    }


_HEADERS: Document = {
    "X-Request-Id": {"description": "The request's id, as in the service's log.", "schema": {"type": "string"}, "required": True},
    "Idempotent-Replayed": {
        "description": "The reading was committed before.", "schema": {"const": "true"}, "required": True,
    },
    "Energy-Read-From": {
        "description": "Where it was read.", "schema": {"enum": ["primary", "replica", "stale-replica", "follower"]}, "required": True,
    },
    "Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}, "required": True},
    "Retry-After": {
        "description": "Seconds until it is worth trying again; different for each client.",
        "schema": {"type": "integer", "minimum": 1}, "required": True,
    },
    "WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}, "required": True},
    "RateLimit": {
        "description": "Requests left to the key, and the seconds until there are more.", "schema": {"type": "string"},
        "required": True,
    },
    "RateLimit-Policy": {
        "description": "Requests that a key may make at once, and the seconds in which it gets that many again.",
        "schema": {"type": "string"}, "required": True,
    },
}  # fmt: skip
_MORE_HEADERS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}

_IDEMPOTENCY_KEY: Document = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "description": "Sending the same key for the same device again stores nothing twice. A `reading_id` in the body wins.",
}
_ENCODING: Document = {
    "name": "Content-Encoding",
    "in": "header",
    "schema": {"enum": ["gzip", "x-gzip", "identity"]},
    "description": "A gzip stream may have several members; the limit of size counts after unpacking, too.",
}
_ATOMIC: Document = {
    "name": "atomic",
    "in": "query",
    "schema": {"type": "boolean", "default": False},
    "description": "Store all of them or none.",
}


def _operations(limits: Limits) -> Sequence[Operation]:
    committed = {
        201: _answer("Committed.", Receipt),
        200: _answer("It was committed before; this is the first answer again.", Receipt, "Idempotent-Replayed"),
    }
    history = {200: _answer("A page.", HistoryPage, "Energy-Read-From")}
    of_history = [*_parameters(HistoryParameters, "query")]
    of_history[0]["schema"]["maximum"] = limits.history_items_max
    single = f"At most {limits.body_bytes_max} bytes."
    batch = (
        f"At most {limits.batch_items_max} readings and {limits.batch_body_bytes_max} bytes. CSV and NDJSON have the fields of a "
        "reading; CSV names them in its first line."
    )
    many = {"type": "array", "minItems": 1, "maxItems": limits.batch_items_max, "items": _ref(ReadingIn)}
    text = {"schema": {"type": "string"}}
    one = (*_REFUSED_BY_KEY, *_REFUSED_READING)
    return [
        Operation(
            "post", "/v1/values", "post_value", "readings",
            "One value of the task's API. Members that it does not know are ignored, a `reading_id` too: "
            "to repeat it safely, send an Idempotency-Key.",
            committed, one, [_IDEMPOTENCY_KEY], _body(ValueIn, single),
        ),
        Operation(
            "post", "/v2/values", "post_value_ordered", "readings",
            "The same, always in order: never two database writes at once.",
            committed, one, [_IDEMPOTENCY_KEY], _body(ValueIn, single),
        ),
        Operation(
            "post", "/v1/readings", "post_reading", "readings", "One reading; 201 is sent after COMMIT.",
            committed, one, [_IDEMPOTENCY_KEY], _body(ReadingIn, single),
        ),
        Operation(
            "post", "/v1/readings/batch", "post_batch", "readings",
            "Many readings; each gets its own result, or with atomic=true all are stored or none.",
            {200: _answer("A result for each item.", BatchResult)}, (*one, "not_all_stored"), [_ATOMIC, _ENCODING],
            {
                "required": True,
                "description": batch,
                "content": {"application/json": {"schema": many}, "application/x-ndjson": text, "text/csv": text},
            },
        ),
        Operation(
            "post", "/v1/readings/{device_id}/{reading_id}/correction", "post_correction", "readings",
            "A reading that supersedes another one, inside the window of its period.",
            committed, (*one, "not_found", "window_closed", "already_superseded"),
            [*_parameters(ReadingPath, "path"), _IDEMPOTENCY_KEY], _body(CorrectionIn, single),
        ),
        Operation(
            "get", "/v1/devices/{device_id}/readings", "device_history", "history",
            "A device's readings, newest first, from the replica where there is a fresh one.",
            history, (*_REFUSED_QUERY, "bad_cursor"), [*_parameters(DevicePath, "path"), *of_history],
        ),
        Operation(
            "get", "/v1/accounts/{account_no}/readings", "account_history", "history", "The same for all meters of an account.",
            history, (*_REFUSED_QUERY, "bad_cursor", "not_found"), [*_parameters(AccountPath, "path"), *of_history],
        ),
        Operation(
            "get", "/v1/window", "window", "window",
            "Whether the window is open, and its edges; days are those of `tz` (default: the service's zone).",
            {200: _answer("The window.", WindowOut)}, ("malformed", "invalid"), _parameters(WindowParameters, "query"), secured=False,
        ),
        Operation(
            "get", "/v1/progress", "progress", "billing",
            "How many of the expected meters are in for a period (default: the current one), and how many of their readings have a flag.",
            {200: _answer("The figures.", ProgressOut)}, _REFUSED_QUERY, _parameters(ProgressParameters, "query"),
        ),
        Operation(
            "get", "/v1/export", "export", "billing",
            "All readings of a period for billing, ordered by device; streamed, so it never lies in memory whole.",
            {
                200: {
                    "description": "The readings.",
                    "headers": _headers("Content-Disposition"),
                    "content": {"text/csv": text, "application/x-ndjson": text},
                }
            },
            (*_REFUSED_QUERY, "overloaded"), _parameters(ExportParameters, "query"),
        ),
        Operation(
            "get", "/v1/keys", "list_keys", "keys", "API keys in the order of their ids; for keys with the scope admin.",
            {200: _answer("A page.", KeyPage)}, _REFUSED_QUERY, _parameters(KeyParameters, "query"),
        ),
        Operation(
            "post", "/v1/keys", "create_keys", "keys", "Makes keys, all or none; each token is shown once.",
            {201: _answer("The tokens.", NewKeys)},
            (*_REFUSED_BY_KEY, "malformed", "invalid", "too_large", "unsupported_media_type"), (),
            {
                "required": True,
                "description": f"1 to {KEYS_AT_ONCE_MAX} keys.",
                "content": {
                    "application/json": {
                        "schema": {"type": "array", "minItems": 1, "maxItems": KEYS_AT_ONCE_MAX, "items": _ref(KeyIn)}
                    }
                },
            },
        ),
        Operation(
            "delete", "/v1/keys/{key_id}", "revoke_key", "keys",
            "Ends a key; running services stop taking it when they look it up again.",
            {204: {"description": "Ended.", "headers": _headers()}}, (*_REFUSED_BY_KEY, "invalid", "not_found"),
            _parameters(KeyPath, "path"),
        ),
    ]  # fmt: skip


def _described(operation: Operation) -> Document:
    described: Document = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": list(operation.parameters),
        "responses": {
            str(status): answer
            for status, answer in sorted((operation.answers | _refusals(operation.refusals)).items())
        },
    }
    if operation.body is not None:
        described["requestBody"] = operation.body
    if not operation.secured:
        described["security"] = []
    return described


def _refusals(codes: Sequence[str]) -> Answers:
    by_status: dict[int, list[str]] = {}
    for code in (*_REFUSED_ANYWHERE, *codes):
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in sorted(codes)) + ".",
            "headers": _headers(*_MORE_HEADERS.get(status, ())),
            "content": {"application/problem+json": {"schema": _ref(ProblemOut)}},
        }
        for status, codes in by_status.items()
    }


def _parameters(shape: type[msgspec.Struct], where: str) -> list[Document]:
    _, components = msgspec.json.schema_components([shape], ref_template=_TEMPLATE)
    schema = components[shape.__name__]
    required = schema.get("required", ())
    found = []
    for name, described in schema["properties"].items():
        own = {key: value for key, value in described.items() if key != "description"}
        if "anyOf" in own:  # a parameter that was left out, not one that is null
            own = next(choice for choice in own["anyOf"] if choice != {"type": "null"})
        description = own.pop("description", described.get("description", ""))
        found.append(
            {
                "name": name,
                "in": where,
                "required": name in required or where == "path",
                "schema": own,
                "description": description,
            }
        )
    return found


def _ref(shape: type) -> Document:
    return {"$ref": _TEMPLATE.format(name=shape.__name__)}


def _body(shape: type, description: str) -> Document:
    return {"required": True, "description": description, "content": {"application/json": {"schema": _ref(shape)}}}


def _answer(description: str, shape: type, *headers: str) -> Document:
    return {
        "description": description,
        "headers": _headers(*headers),
        "content": {"application/json": {"schema": _ref(shape)}},
    }


def _headers(*names: str) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}
