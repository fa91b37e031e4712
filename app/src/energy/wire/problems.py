"""Every way the API says no: one table, one document shape (RFC 9457).

`code` is for programs and never changes its meaning; `detail` is for the person who reads it and says what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

TYPES = "/problems/"  # on the service itself: no domain has to be owned, and it works in a closed network
CONTENT_TYPE = b"application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one code share."""

    status: int
    title: str
    holds: str
    """What is true of the reading then."""
    next: str
    """What the client does."""


KINDS: dict[str, Kind] = {
    "malformed": Kind(400, "The request cannot be read", "not stored", "fix the body"),
    "bad_http": Kind(
        400, "The request is not valid HTTP", "not stored; the connection is closed", "fix the client or the proxy"
    ),
    "bad_header": Kind(400, "A header has a value that cannot be used", "not stored", "fix the header it names"),
    "bad_cursor": Kind(
        400, "The cursor was not issued by this service", "nothing was read", "start from the first page"
    ),
    "unauthenticated": Kind(401, "An API key is needed", "not stored", "get a key that is valid"),
    "forbidden": Kind(
        403, "The API key does not allow this", "not stored", "get a key with that scope, device or account"
    ),
    "not_found": Kind(404, "Not found", "not stored", "fix the address, or the id that is corrected"),
    "method_not_allowed": Kind(
        405, "This address does not support that method", "not stored", "use a method that `/docs` shows"
    ),
    "body_timeout": Kind(
        408,
        "The request's body did not arrive in time",
        "not stored; the connection is closed",
        "send again, with the same id",
    ),
    "window_closed": Kind(
        409,
        "Corrections are taken inside the submission window only",
        "not corrected",
        "send a new reading in the next window",
    ),
    "already_superseded": Kind(
        409, "The reading has been corrected already", "not corrected", "correct the newer reading"
    ),
    "too_large": Kind(
        413,
        "The request is too large",
        "not stored; where a length is announced, the body is not read",
        "send smaller batches",
    ),
    "unsupported_media_type": Kind(
        415,
        "The content type of the body is not supported",
        "not stored",
        "send JSON; NDJSON, CSV and gzip for batches only",
    ),
    "invalid": Kind(422, "A value cannot be accepted", "not stored", "fix the value it names"),
    "id_taken": Kind(
        422,
        "The id belongs to another reading",
        "under this id something else is stored, and stays",
        "take a new id for a new reading, a correction for a wrong one",
    ),
    "less_than_previous": Kind(
        422,
        "The reading is lower than the previous one",
        "not stored; people only, never a meter",
        "look at `previous`; send it again with `confirm` true",
    ),
    "doubtful": Kind(
        422,
        "The reading is unlikely",
        "not stored; people only",
        "look at `previous`, `next` and `flags`; send it again with `confirm` true",
    ),
    "unstorable": Kind(
        422,
        "The database refuses this reading",
        "not stored: the database refuses this row",
        "tell the operator, with the detail",
    ),
    "not_all_stored": Kind(
        422,
        "Nothing was stored: not every reading of the batch can be",
        "nothing of the atomic batch is stored",
        "fix the items it names, send all again",
    ),
    "rate_limited": Kind(429, "Too many requests for this API key", "not stored", "wait for `Retry-After`"),
    "headers_too_large": Kind(
        431, "The request line and headers are too large", "not stored; the connection is closed", "send fewer headers"
    ),
    "internal": Kind(
        500,
        "Internal error of the service",
        "a defect of the service: stored once or not at all",
        "send again with the same id; report the `X-Request-Id`",
    ),
    "overloaded": Kind(
        503,
        "The service cannot accept more readings at the moment",
        "not stored: the queue is full or too old, or the service is stopping",
        "send again after `Retry-After`",
    ),
    "database_unavailable": Kind(
        503,
        "The database cannot be reached",
        "not stored: the database was not reached, or refused and undid the whole",
        "send again after `Retry-After`",
    ),
    "outcome_unknown": Kind(
        503,
        "It is unknown whether the reading was stored",
        "stored once or not at all: a statement was sent and not answered in time",
        "send again with the same id",
    ),
    "connections_busy": Kind(
        503,
        "The service has too many open connections",
        "not stored: nothing was read",
        "send again after `Retry-After`; keep connections and use fewer of them",
    ),
    "not_ready": Kind(
        503, "The service is not ready", "only `/readyz` says so; says nothing of any reading", "send to another pod"
    ),
}


def type_of(code: str) -> str:
    """A problem's `type`: a reference relative to the service, where it is explained."""
    return TYPES + code.replace("_", "-")


@dataclass(slots=True)
class Problem(Exception):
    """A refusal on its way to the client. `more` are members of the document beyond the standard ones."""

    code: str
    detail: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.code].status

    def document(self) -> dict[str, object]:
        """The JSON document."""
        kind = KINDS[self.code]
        return {
            "type": type_of(self.code),
            "title": kind.title,
            "status": kind.status,
            "code": self.code,
            "detail": self.detail,
            **self.more,
        }

    def body(self) -> bytes:
        """The document as bytes."""
        return msgspec.json.encode(self.document()) if self.more else _encoded(self.code, self.detail)


@lru_cache(maxsize=64)
def _encoded(code: str, detail: str) -> bytes:
    """A plain document. Under overload one and the same is sent thousands of times a second, when time is short."""
    return msgspec.json.encode(Problem(code, detail).document())
