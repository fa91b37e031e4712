"""The hot path: one reading per request, from bytes to an answer after COMMIT.

A plain ASGI endpoint: a request object, dependencies and response models would cost more than everything else a single
reading needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from energy import metrics
from energy.domain.reading import Committed
from energy.http.auth import Authenticator
from energy.http.binding import Bindings
from energy.http.body import read_body, require_json
from energy.http.responses import JSON, Receive, Reply, Scope
from energy.ingest.queue import IngestQueue, Overloaded
from energy.wire.answers import problem_of, receipt_of
from energy.wire.bodies import ReadingIn, ValueIn
from energy.wire.problems import Problem

REPLAYED = (b"idempotent-replayed", b"true")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Readings:
    """One path that takes single readings."""

    decode: Callable[[bytes], ValueIn | ReadingIn]
    queue: IngestQueue
    authenticator: Authenticator
    bindings: Bindings
    body_bytes_max: int
    now: Callable[[], datetime]
    json_only: bool

    async def __call__(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        """Answers one POST after COMMIT. Raises `Problem`."""
        refused = self.queue.refusal()  # before any work is done: saying no must stay cheap when it is said often
        if refused is not None:
            raise shed(refused)
        headers = scope["header_map"]
        token = headers.get(b"authorization")
        credential = self.authenticator.known(token, "ingest") or await self.authenticator.credential(token, "ingest")
        if self.json_only and headers.get(b"content-type") != JSON:
            require_json(headers)
        if b"content-encoding" in headers:
            raise Problem("unsupported_media_type", "Single readings are sent as they are; batches may be gzipped.")
        body = self.decode(await read_body(scope, receive, self.body_bytes_max))
        source = credential.claimed(body.source if isinstance(body, ReadingIn) else None)
        reading = body.reading(headers.get(b"idempotency-key"), self.now(), source, credential.sender)
        if credential.device_id is not None or credential.account_no is not None:
            await self.bindings.check(credential, reading.device_id)
        try:
            outcome = await self.queue.submit(reading)
        except Overloaded as overloaded:
            raise shed(overloaded.reason) from None
        if not isinstance(outcome, Committed):
            raise problem_of(reading, outcome, await self.bindings.sees_from(credential, reading.device_id))
        receipt = _encode(receipt_of(reading, outcome))
        if outcome.replayed:
            await reply.whole(200, receipt, headers=(REPLAYED,))
        else:
            await reply.whole(201, receipt)


def shed(reason: str) -> Problem:
    """A refusal before any work was done, counted by its reason."""
    metrics.SHED.labels(reason).inc()
    return Problem("overloaded", "Too many readings are waiting. This one was not stored; send it again later.")
