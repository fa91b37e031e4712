"""Many readings a request: every item gets its own result, or with `?atomic=true` all are stored or none.

Goes to the committer directly, not through the queue: a batch is one already. How many are worked on at once is
bounded, so that head-end systems cannot take the database away from single readings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec

from energy import metrics
from energy.domain.reading import Committed, Outcome, Reading, Undecided
from energy.http.auth import Authenticator, Credential
from energy.http.binding import Bindings
from energy.http.body import read_body, unpack
from energy.http.endpoint import Endpoint
from energy.http.readings import IntakeLimits, shed
from energy.http.responses import Receive, Scope, Send, respond
from energy.ingest.committer import Committer
from energy.store.ports import NotAll
from energy.wire.answers import least_certain, problem_of
from energy.wire.batches import Item, items_of
from energy.wire.bodies import ReadingIn, reading_of
from energy.wire.problems import Problem

_ITEMS_AT_A_TIME = 500
"""Items handled between two looks at the other requests: a batch of 10 000 must not hold the event loop for 50 ms."""
_REASONS_MAX = 100


class ItemResult(msgspec.Struct, omit_defaults=True):
    """What became of one item; `status` as if it had been sent alone."""

    index: int
    status: int
    reading_id: UUID | None = None
    flags: tuple[str, ...] = ()
    code: str = ""
    detail: str = ""


class BatchResult(msgspec.Struct):
    """What became of the batch: how many of each, and each one."""

    stored: int
    replayed: int
    refused: int
    undecided: int
    items: list[ItemResult]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds beyond those of a single reading."""

    items_max: int
    requests_max: int
    deadline_s: float


@dataclass(slots=True)
class Busy:
    """How many batch requests are inside, from their first byte on, and the lanes they write in."""

    lanes: asyncio.Semaphore
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Batch(Endpoint):
    """`POST /v1/readings/batch`."""

    committer: Committer
    atomic_committer: Committer
    authenticator: Authenticator
    bindings: Bindings
    limits: IntakeLimits
    batch_limits: BatchLimits
    now: Callable[[], datetime]
    clock: Callable[[], float]
    draining: Callable[[], bool]
    busy: Busy = field(default_factory=lambda: Busy(asyncio.Semaphore(2)))

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one batch: 200 with a result for each item."""
        if self.draining() or self.busy.requests >= self.batch_limits.requests_max:
            raise shed("draining" if self.draining() else "batches_busy", self.limits.retry_after_s)
        self.busy.requests += 1
        try:
            result = await self._settle(scope, receive)
        finally:
            self.busy.requests -= 1
        await respond(send, self.route, 200, msgspec.json.encode(result))

    async def _settle(self, scope: Scope, receive: Receive) -> BatchResult:
        headers: Mapping[bytes, bytes] = scope["header_map"]
        atomic = _is_atomic(scope["query_string"])
        credential = await self.authenticator.credential(headers.get(b"authorization"), "ingest")
        raw = await read_body(receive, headers, self.limits.body_bytes_max)
        body = unpack(raw, headers.get(b"content-encoding"), self.limits.body_bytes_max)
        items = items_of(body, headers.get(b"content-type"), self.batch_limits.items_max)
        readings = await self._readings(items, credential)
        if atomic:
            outcomes = await self._commit_all(readings)
        else:
            outcomes = await self._commit(self.committer, [item for item in readings if isinstance(item, Reading)])
        return self._result(readings, outcomes)

    async def _readings(self, items: Sequence[Item], credential: Credential) -> list[Reading | Problem]:
        bound = credential.device_id is not None or credential.account_no is not None
        found: list[Reading | Problem] = []
        now = self.now()
        for start in range(0, len(items), _ITEMS_AT_A_TIME):
            for item in items[start : start + _ITEMS_AT_A_TIME]:
                try:
                    if isinstance(item, ReadingIn):
                        if bound:
                            await self.bindings.check(credential, item.device_id)
                        found.append(reading_of(item, None, now))
                    else:
                        found.append(item)
                except Problem as problem:
                    found.append(problem)
            await asyncio.sleep(0)
        return found

    async def _commit(self, committer: Committer, readings: Sequence[Reading]) -> list[Outcome]:
        if not readings:
            return []
        deadline = self.clock() + self.batch_limits.deadline_s
        async with self.busy.lanes:
            metrics.BATCH_ROWS.observe(len(readings))
            return await committer.commit(readings, deadline)

    async def _commit_all(self, readings: Sequence[Reading | Problem]) -> list[Outcome]:
        bad = [(index, item) for index, item in enumerate(readings) if isinstance(item, Problem)]
        if bad:
            raise _nothing_stored([_refused(index, problem) for index, problem in bad])
        good = [item for item in readings if isinstance(item, Reading)]
        try:
            return await self._commit(self.atomic_committer, good)
        except NotAll as error:
            results = [
                _refused(index, problem_of(good[index], outcome, self.limits.retry_after_s))
                for index, outcome in enumerate(error.outcomes)
                if not isinstance(outcome, Committed)
            ]
            raise _nothing_stored(results) from None

    def _result(self, readings: Sequence[Reading | Problem], outcomes: Sequence[Outcome]) -> BatchResult:
        result = BatchResult(0, 0, 0, 0, [])
        left = iter(outcomes)
        for index, reading in enumerate(readings):
            if isinstance(reading, Problem):
                result.refused += 1
                result.items.append(_refused(index, reading))
                continue
            outcome = next(left)
            if isinstance(outcome, Committed):
                status = 200 if outcome.replayed else 201
                result.replayed += outcome.replayed
                result.stored += not outcome.replayed
                result.items.append(ItemResult(index, status, reading.reading_id, outcome.flags))
                continue
            undecided = isinstance(outcome, Undecided)
            result.undecided += undecided
            result.refused += not undecided
            result.items.append(_refused(index, problem_of(reading, outcome, self.limits.retry_after_s)))
        if result.undecided == len(readings):
            reading = next(item for item in readings if isinstance(item, Reading))
            raise problem_of(reading, least_certain(outcomes), self.limits.retry_after_s)
        return result


def _refused(index: int, problem: Problem) -> ItemResult:
    return ItemResult(index, problem.status, code=problem.code, detail=problem.detail)


def _nothing_stored(results: Sequence[ItemResult]) -> Problem:
    detail = f"{len(results)} of the readings cannot be stored, so none was; the first reasons are under `items`."
    return Problem("not_all_stored", detail, more={"items": results[:_REASONS_MAX]})


def _is_atomic(query: bytes) -> bool:
    if not query or query == b"atomic=false":
        return False
    if query == b"atomic=true":
        return True
    raise Problem("malformed", "The only parameter is `atomic`, true or false.")
