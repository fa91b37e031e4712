"""Brings a batch to an outcome for every reading in it, whatever the database does meanwhile.

It exists so that retrying, folding and isolating are in one place for single readings and for batch requests alike.
All of it rests on one fact: every reading has its id before the first attempt, so the same rows can be sent again.

Knows nothing of HTTP or SQL.
"""

from __future__ import annotations

import logging
import operator
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from energy import metrics
from energy.domain.reading import (
    Committed,
    Conflicting,
    Outcome,
    Reading,
    Stored,
    Undecided,
    Unstorable,
    same_content,
    same_request,
)
from energy.ingest.accounting import count
from energy.logs import Seldom
from energy.store.ports import BatchStore, Interrupted, NotAll, Poisoned, StoreError

_seldom = Seldom(logging.getLogger(__name__))

Id = tuple[UUID, UUID]

BACKOFF_FIRST_S = 0.02
BACKOFF_MAX_S = 0.5

_TWO_CONTENTS = "an id occurs twice with different contents"


class Committer:
    """Retries what may be retried until the deadline, and finds the row that the database refuses."""

    def __init__(
        self,
        store: BatchStore,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        *,
        atomic: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._atomic = atomic

    async def commit(self, readings: Sequence[Reading], deadline: float) -> list[Outcome]:
        """One outcome per reading, in the same order. `deadline` is in seconds of the clock; it returns soon after it.

        An atomic committer stores all of them or raises `NotAll`.
        """
        first_of: dict[Id, Reading] = {}
        for reading in readings:
            first_of.setdefault(_id(reading), reading)
        batch = sorted(first_of.values(), key=_id)  # in the key's order: two batches that lock rows crosswise deadlock
        if self._atomic and any(not same_request(reading, first_of[_id(reading)]) for reading in readings):
            raise NotAll([Unstorable(_TWO_CONTENTS)] * len(readings))
        try:
            settled = await self._settle(batch, deadline)
        except NotAll as error:
            raise NotAll(_for_each(readings, first_of, batch, error.outcomes)) from None
        as_they_came = len(batch) == len(readings) and all(map(operator.is_, batch, readings))
        outcomes = settled if as_they_came else _for_each(readings, first_of, batch, settled)
        count(outcomes)
        return outcomes

    async def _settle(self, batch: Sequence[Reading], deadline: float, *, maybe_stored: bool = False) -> list[Outcome]:
        pause_s = BACKOFF_FIRST_S
        while (left_s := deadline - self._clock()) > 0:
            try:
                return await self._store.append(batch, left_s)
            except Poisoned as error:
                if self._atomic:
                    raise NotAll([Unstorable(str(error))] * len(batch)) from error
                return await self._settle_halves(batch, error, deadline, maybe_stored=maybe_stored)
            except StoreError as error:
                maybe_stored = maybe_stored or isinstance(error, Interrupted)
                metrics.COMMIT_RETRIES.labels(error.reason).inc()
                _seldom.warning(error.reason, "a batch of %d could not be committed: %s", len(batch), error)
            await self._sleep(min(pause_s * random.uniform(0.5, 1.0), max(deadline - self._clock(), 0)))  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 2, BACKOFF_MAX_S)
        if maybe_stored:
            metrics.UNKNOWN_OUTCOMES.inc(len(batch))
        return [Undecided(maybe_stored)] * len(batch)

    async def _settle_halves(
        self, batch: Sequence[Reading], error: Poisoned, deadline: float, *, maybe_stored: bool
    ) -> list[Outcome]:
        """Bisection: the healthy halves are stored, and the row at fault ends up alone."""
        if len(batch) == 1:
            return [Unstorable(str(error))]
        middle = len(batch) // 2
        halves = (batch[:middle], batch[middle:])
        settled = [await self._settle(half, deadline, maybe_stored=maybe_stored) for half in halves]
        return [outcome for half in settled for outcome in half]


def _id(reading: Reading) -> Id:
    return (reading.device_id, reading.reading_id)


def _for_each(
    readings: Sequence[Reading], first_of: dict[Id, Reading], batch: Sequence[Reading], settled: Sequence[Outcome]
) -> list[Outcome]:
    """The outcomes of the sorted, folded batch for the readings as they came."""
    outcome_of = {_id(reading): outcome for reading, outcome in zip(batch, settled, strict=True)}
    return [
        outcome if reading is first else _repeated(reading, first, outcome)
        for reading in readings
        for first, outcome in [(first_of[_id(reading)], outcome_of[_id(reading)])]
    ]


def _repeated(reading: Reading, first: Reading, outcome: Outcome) -> Outcome:
    """What the second of two readings with one id gets, when both were in the same batch and only the first was sent."""
    if isinstance(outcome, Committed):
        stored = _stored(first, outcome)
        return replace(outcome, replayed=True, found=stored) if same_request(reading, first) else Conflicting(stored)
    if isinstance(outcome, Undecided) or same_request(reading, first):
        return outcome
    match outcome:
        case Conflicting(stored) if same_content(reading, stored):
            return Committed(stored.period, stored.flags, replayed=True, found=stored)
        case Conflicting():
            return outcome
        case _:  # the first was refused for what it was, which says nothing of this one
            return Unstorable(_TWO_CONTENTS)


def _stored(first: Reading, outcome: Committed) -> Stored:
    """What is in the database since the first of them, or before it."""
    return outcome.found or Stored(
        first.device_id, first.reading_id, first.register, Decimal(first.value), first.read_at, first.received_at,
        outcome.period, first.source, "flagged" if outcome.flags else "accepted", outcome.flags, first.supersedes,
        first.key_id,
    )  # fmt: skip
