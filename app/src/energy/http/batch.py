"""Many readings per request: every item gets its own result, or with `?atomic=true` all are stored or none.

Goes to the committer directly, not through the queue: a batch is one already. How many are worked on at once is
bounded, in all and for one key, so that head-end systems take neither the database nor the memory from the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec.structs import replace

from energy import metrics
from energy.domain.reading import Committed, Outcome, Reading, Undecided
from energy.http.auth import Authenticator, Credential
from energy.http.binding import Bindings
from energy.http.body import read_body, unpack
from energy.http.readings import shed
from energy.http.responses import Receive, Reply, Scope
from energy.http.shares import Busy, Shares, Turns
from energy.ingest.committer import Committer
from energy.store.ports import ROWS_AT_A_TIME, NotAll
from energy.wire.answers import BatchResult, ItemResult, least_certain, problem_of
from energy.wire.batches import counter, kind_of, slices_of
from energy.wire.bodies import EARLIEST, ReadingIn
from energy.wire.problems import Problem

_REASONS_MAX = 100
_ITEMS_AT_A_TIME = 200
"""Items handled between two looks at the other requests: a batch must not hold the event loop for milliseconds."""

Items = list[Reading | Problem]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one batch, and of all at once."""

    body_bytes_max: int
    items_max: int
    requests_max: int
    lanes: int
    deadline_s: float


class Batch:
    """`POST /v1/readings/batch`."""

    def __init__(
        self,
        committer: Committer,
        atomic_committer: Committer,
        authenticator: Authenticator,
        bindings: Bindings,
        limits: BatchLimits,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        draining: Callable[[], bool],
    ) -> None:
        self._committer = committer
        self._atomic_committer = atomic_committer
        self._authenticator = authenticator
        self._bindings = bindings
        self._limits = limits
        self._now = now
        self._clock = clock
        self._draining = draining
        self._bytes = Shares(2 * limits.requests_max * limits.body_bytes_max)
        self._requests = Shares(limits.requests_max)
        self._turns = Turns()
        self._lanes = asyncio.Semaphore(limits.lanes)

    async def __call__(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        """Answers one batch: 200 with a result for each item. Raises `Problem`."""
        if self._draining():
            raise shed("draining")
        headers: Mapping[bytes, bytes] = scope["header_map"]
        atomic = _is_atomic(scope["query_string"])
        credential = await self._authenticator.credential(headers.get(b"authorization"), "ingest")
        try:
            # A slow client holds no more than the bytes that it has sent; a batch counts once it is here.
            with self._bytes.of(credential.key_id) as take_bytes, self._requests.of(credential.key_id) as take_requests:
                raw = await read_body(scope, receive, self._limits.body_bytes_max, take_bytes)
                take_requests(1)
                result = await self._stored(raw, headers, credential, atomic=atomic)
        except Busy:
            raise shed("batches_busy") from None
        await reply.whole(200, msgspec.json.encode(result))

    async def _stored(
        self, raw: bytes, headers: Mapping[bytes, bytes], credential: Credential, *, atomic: bool
    ) -> BatchResult:
        kind, limits = kind_of(headers.get(b"content-type")), self._limits
        look = counter(kind, limits.items_max)
        body = await unpack(raw, headers.get(b"content-encoding"), limits.body_bytes_max, look, self._turns.next)
        items = await self._items(body, kind, credential)
        readings = [item for item in items if isinstance(item, Reading)]
        # Whose each meter was and when is not looked up for a detail of one line.
        sees_from = EARLIEST if credential.may("read") and credential.account_no is None else None
        if not atomic:
            return await _result(items, await self._commit(self._committer, readings), sees_from, self._turns)
        bad = [(index, item) for index, item in enumerate(items) if isinstance(item, Problem)]
        if bad:
            raise _nothing_stored(len(bad), [_refused(index, item) for index, item in bad[:_REASONS_MAX]])
        try:
            return await _result(items, await self._commit(self._atomic_committer, readings), sees_from, self._turns)
        except NotAll as error:
            pairs = enumerate(zip(readings, error.outcomes, strict=True))
            failed = [(n, *pair) for n, pair in pairs if not isinstance(pair[1], Committed)]
            raise _nothing_stored(
                len(failed),
                [_refused(n, problem_of(reading, found, sees_from)) for n, reading, found in failed[:_REASONS_MAX]],
            ) from None

    async def _items(self, body: bytes, kind: bytes, credential: Credential) -> Items:
        found: Items = []
        now = self._now()
        bound = credential.device_id is not None or credential.account_no is not None
        for slice_ in slices_of(body, kind, self._limits.items_max, _ITEMS_AT_A_TIME):
            devices = {item.device_id for item in slice_ if isinstance(item, ReadingIn)} if bound else ()
            foreign = await self._bindings.refusals(credential, devices) if devices else {}
            found += [_reading_of(item, foreign, credential, now) for item in slice_]
            await self._turns.next()
        if not found:
            raise Problem("invalid", "The batch is empty.")
        return found

    async def _commit(self, committer: Committer, readings: Sequence[Reading]) -> list[Outcome]:
        if not readings:
            return []
        deadline = self._clock() + self._limits.deadline_s
        try:
            async with asyncio.timeout_at(deadline):
                await self._lanes.acquire()
        except TimeoutError:
            return [Undecided(maybe_stored=False)] * len(readings)
        at_a_time = ROWS_AT_A_TIME if committer is self._committer else len(readings)
        outcomes: list[Outcome] = []
        try:
            for at in range(0, len(readings), at_a_time):
                rows = readings[at : at + at_a_time]
                if at:  # or an id of an earlier part would look like an attempt of this one: stored, not found again
                    later = timedelta(microseconds=at)
                    rows = [replace(reading, received_at=reading.received_at + later) for reading in rows]
                metrics.BATCH_ROWS.observe(len(rows))
                outcomes += await committer.commit(rows, deadline)
            return outcomes
        finally:
            self._lanes.release()


def _reading_of(
    item: ReadingIn | Problem, foreign: Mapping[UUID, Problem], credential: Credential, now: datetime
) -> Reading | Problem:
    if isinstance(item, Problem):
        return item
    if item.device_id in foreign:
        return foreign[item.device_id]
    try:
        return item.reading(None, now, credential.claimed(item.source), credential.sender)
    except Problem as problem:
        return problem


async def _result(items: Items, outcomes: Sequence[Outcome], sees_from: datetime | None, turns: Turns) -> BatchResult:
    """What became of each item. Raises `Problem` when nothing was decided for any of them."""
    if len(outcomes) == len(items) and all(isinstance(outcome, Undecided) for outcome in outcomes):
        raise problem_of(next(item for item in items if isinstance(item, Reading)), least_certain(outcomes), sees_from)
    result = BatchResult(0, 0, 0, 0, [])
    left = iter(outcomes)
    for index, item in enumerate(items):
        if isinstance(item, Problem):
            result.refused += 1
            result.items.append(_refused(index, item))
        else:
            result.items.append(_counted(result, index, item, next(left), sees_from))
        if index % _ITEMS_AT_A_TIME == 0:
            await turns.next()
    return result


def _counted(
    result: BatchResult, index: int, reading: Reading, outcome: Outcome, sees_from: datetime | None
) -> ItemResult:
    if isinstance(outcome, Committed):
        result.replayed += outcome.replayed
        result.stored += not outcome.replayed
        return ItemResult(index, 200 if outcome.replayed else 201, reading.reading_id, outcome.flags)
    undecided = isinstance(outcome, Undecided)
    result.undecided += undecided
    result.refused += not undecided
    return _refused(index, problem_of(reading, outcome, sees_from))


def _refused(index: int, problem: Problem) -> ItemResult:
    return ItemResult(index, problem.status, code=problem.code, detail=problem.detail)


def _nothing_stored(number: int, first: Sequence[ItemResult]) -> Problem:
    detail = f"{number} of the readings cannot be stored, so none was; the first reasons are under `items`."
    return Problem("not_all_stored", detail, more={"items": first})


def _is_atomic(query: bytes) -> bool:
    if not query or query == b"atomic=false":
        return False
    if query == b"atomic=true":
        return True
    raise Problem("malformed", "The only parameter is `atomic`, true or false.")
