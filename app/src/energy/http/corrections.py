"""`POST /v1/readings/{device_id}/{reading_id}/correction`: a reading that supersedes another one, inside its window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from energy.domain.reading import Committed, Reading, Stored
from energy.domain.window import SubmissionWindow, period_of, window_state
from energy.http.auth import Credential
from energy.http.body import read_body, require_json
from energy.http.queries import Access, json, path_of
from energy.http.readings import REPLAYED, shed
from energy.ingest.queue import IngestQueue, Overloaded
from energy.store.ports import HistoryStore
from energy.wire.answers import problem_of, receipt_of
from energy.wire.bodies import CorrectionIn, decimal_text, decoder, identity
from energy.wire.problems import Problem

_decode = decoder(CorrectionIn)
_REPLAYED = {REPLAYED[0].decode(): REPLAYED[1].decode()}


class ReadingPath(msgspec.Struct):
    """The reading that was wrong."""

    device_id: UUID
    reading_id: UUID


@dataclass(frozen=True, slots=True)
class Corrections:
    """Takes corrections through a queue of their own."""

    store: HistoryStore
    queue: IngestQueue
    access: Access
    window: SubmissionWindow
    time_zone: str
    now: Callable[[], datetime]
    body_bytes_max: int

    async def correct(self, request: Request) -> Response:
        """Stores a reading that supersedes another one."""
        headers = request.scope["header_map"]
        path = path_of(request, ReadingPath)
        credential = await self.access.to_device(request, "ingest", path.device_id)
        require_json(headers)
        body = _decode(await read_body(request.scope, request.receive, self.body_bytes_max))
        wrong = await self.store.find(path.device_id, path.reading_id)
        if wrong is None or not await self._own(credential, wrong):
            raise Problem("not_found", "There is no such reading of this device.")
        now = self.now()
        reading = Reading(
            path.device_id, identity(path.device_id, body.reading_id, headers.get(b"idempotency-key")),
            body.register or wrong.register, decimal_text(body.value), body.read_at_or(wrong.read_at, now), now, "correction",
            by_person=True, confirmed=body.confirm, supersedes=path.reading_id, key_id=credential.sender,
        )  # fmt: skip
        if await self.store.find(path.device_id, reading.reading_id) is None:  # a replay settles itself
            await self._refuse_closed(wrong, reading, now)
        try:
            outcome = await self.queue.submit(reading)
        except Overloaded as overloaded:
            raise shed(overloaded.reason) from None
        if not isinstance(outcome, Committed):
            raise problem_of(reading, outcome, await self.access.bindings.sees_from(credential, path.device_id))
        replayed = outcome.replayed
        return json(receipt_of(reading, outcome), _REPLAYED if replayed else None, 200 if replayed else 201)

    async def _own(self, credential: Credential, wrong: Stored) -> bool:
        """A tenant corrects nothing of the time before."""
        if credential.account_no is None:
            return True
        readable = replace(credential, scopes=credential.scopes | {"read"})
        sees_from = await self.access.bindings.sees_from(readable, wrong.device_id)
        return sees_from is not None and wrong.read_at >= sees_from

    async def _refuse_closed(self, wrong: Stored, right: Reading, now: datetime) -> None:
        """A period that is over stays as it is; what counts for a later one by mistake can be brought into the open one."""
        account = await self.store.account_of(wrong.device_id)
        zone = ZoneInfo(account[1] if account and account[1] else self.time_zone)
        state = window_state(now, self.window, zone)
        moved_to = period_of(right.read_at, self.window, zone)
        if not state.open or wrong.period < state.period or moved_to != state.period:
            detail = (
                f"The reading counts for {wrong.period:%Y-%m}, its correction for {moved_to:%Y-%m}; "
                f"the window is open from {state.opens_at:%Y-%m-%d %H:%M %Z}."
            )
            raise Problem("window_closed", detail)
