"""Every way the API says no: one table, one document shape (RFC 9457).

`code` is for programs and never changes its meaning; `detail` is for the person who reads it and says what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

TYPE_BASE = "https://energy-readings.dev/problems/"
CONTENT_TYPE = b"application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one code share."""

    status: int
    title: str


KINDS: dict[str, Kind] = {
    "malformed": Kind(400, "The request cannot be read"),
    "bad_http": Kind(400, "The request is not valid HTTP"),
    "bad_header": Kind(400, "A header has a value that cannot be used"),
    "bad_cursor": Kind(400, "The cursor was not issued by this service"),
    "unauthenticated": Kind(401, "An API key is needed"),
    "forbidden": Kind(403, "The API key does not allow this"),
    "not_found": Kind(404, "Not found"),
    "method_not_allowed": Kind(405, "This address does not support that method"),
    "body_timeout": Kind(408, "The request's body did not arrive in time"),
    "window_closed": Kind(409, "Corrections are taken inside the submission window only"),
    "already_superseded": Kind(409, "The reading has been corrected already"),
    "too_large": Kind(413, "The request is too large"),
    "unsupported_media_type": Kind(415, "The content type of the body is not supported"),
    "invalid": Kind(422, "A value cannot be accepted"),
    "id_taken": Kind(422, "The id belongs to another reading"),
    "less_than_previous": Kind(422, "The reading is lower than the previous one"),
    "doubtful": Kind(422, "The reading is unlikely"),
    "unstorable": Kind(422, "The database refuses this reading"),
    "not_all_stored": Kind(422, "Nothing was stored: not every reading of the batch can be"),
    "rate_limited": Kind(429, "Too many requests for this API key"),
    "headers_too_large": Kind(431, "The request line and headers are too large"),
    "internal": Kind(500, "Internal error of the service"),
    "overloaded": Kind(503, "The service cannot accept more readings at the moment"),
    "database_unavailable": Kind(503, "The database cannot be reached"),
    "outcome_unknown": Kind(503, "It is unknown whether the reading was stored"),
    "connections_busy": Kind(503, "The service has too many open connections"),
    "not_ready": Kind(503, "The service is not ready"),
}


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
            "type": TYPE_BASE + self.code.replace("_", "-"),
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
