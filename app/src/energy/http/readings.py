"""The hot path: one reading a request, from bytes to an answer after COMMIT.

A plain ASGI endpoint: framework routing, dependency injection and response models would cost more than everything else a
single reading needs. FastAPI documents these paths all the same (`openapi.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from energy import metrics
from energy.domain.reading import Committed, Outcome, Reading
from energy.http.auth import Authenticator
from energy.http.binding import Bindings
from energy.http.body import read_body
from energy.http.endpoint import Endpoint
from energy.http.responses import Receive, Scope, Send, respond
from energy.ingest.queue import IngestQueue, Overloaded
from energy.wire.answers import REPLAYED, problem_of, receipt_of
from energy.wire.bodies import require_json
from energy.wire.problems import Problem, busy

encode = msgspec.json.encode

Decode = Callable[[bytes, bytes | None, datetime], Reading]


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Bounds of one request."""

    body_bytes_max: int
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Intake(Endpoint):
    """One path that takes single readings."""

    decode: Decode
    queue: IngestQueue
    authenticator: Authenticator
    bindings: Bindings
    limits: IntakeLimits
    now: Callable[[], datetime]
    json_only: bool

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one POST after COMMIT."""
        reading, outcome = await self._take(scope["header_map"], receive)
        if not isinstance(outcome, Committed):
            raise problem_of(reading, outcome, self.limits.retry_after_s)
        body = encode(receipt_of(reading, outcome))
        if outcome.replayed:
            await respond(send, self.route, 200, body, headers=(REPLAYED,))
        else:
            await respond(send, self.route, 201, body)

    async def _take(self, headers: Mapping[bytes, bytes], receive: Receive) -> tuple[Reading, Outcome]:
        limits = self.limits
        refused = self.queue.refusal()  # before any work is done: saying no must stay cheap when it is said often
        if refused is not None:
            raise shed(refused, limits.retry_after_s)
        token = headers.get(b"authorization")
        credential = self.authenticator.known(token, "ingest") or await self.authenticator.credential(token, "ingest")
        if self.json_only:
            require_json(headers)
        if b"content-encoding" in headers:
            raise Problem("unsupported_media_type", "Single readings are sent as they are; batches may be gzipped.")
        body = await read_body(receive, headers, limits.body_bytes_max)
        reading = self.decode(body, headers.get(b"idempotency-key"), self.now())
        if credential.device_id is not None or credential.account_no is not None:
            await self.bindings.check(credential, reading.device_id)
        try:
            return reading, await self.queue.submit(reading)
        except Overloaded as overloaded:
            raise shed(overloaded.reason, limits.retry_after_s) from None


def shed(reason: str, retry_after_s: int) -> Problem:
    """A refusal before any work was done, counted by its reason."""
    metrics.SHED.labels(reason).inc()
    return busy(
        "overloaded", "Too many readings are waiting. This one was not stored; send it again later.", retry_after_s
    )
