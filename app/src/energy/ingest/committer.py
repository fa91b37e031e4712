"""Brings a batch to an outcome for every reading in it, whatever the database does meanwhile.

It exists so that retrying, folding and isolating are in one place for single readings and for batch requests alike.
All of it rests on one fact: every reading has its id before the first attempt, so the same rows can be sent again.

Knows nothing of HTTP or SQL.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from energy import metrics
from energy.domain.reading import (
    AlreadySuperseded,
    Committed,
    Conflicting,
    Doubtful,
    Outcome,
    Reading,
    Stored,
    Undecided,
    Unstorable,
    same_content,
    same_request,
)
from energy.logs import Seldom
from energy.store.ports import ROWS_AT_A_TIME, BatchStore, Interrupted, NotAll, Poisoned, StoreError, parts

_seldom = Seldom(logging.getLogger(__name__))

Id = tuple[int, int]
"""Device and reading, as numbers: a UUID hashes and compares itself in Python."""

BACKOFF_FIRST_S = 0.02
BACKOFF_MAX_S = 0.5
RETRY_NEEDS_S = 0.05
"""A retry with less time left is likely to be cut off, and would turn "not stored" into "outcome unknown"."""

_TWO_CONTENTS = "an id occurs twice with different contents"
_LABELS: dict[type, str] = {
    Committed: "committed",
    Doubtful: "doubtful",
    Conflicting: "conflicting",
    AlreadySuperseded: "already_superseded",
    Unstorable: "unstorable",
    Undecided: "undecided",
}


class Committer:
    """Retries what may be retried until the deadline, and finds the row that the database refuses."""

    _atomic = False

    def __init__(
        self, store: BatchStore, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._sleep = sleep

    async def commit(self, readings: Sequence[Reading], deadline: float) -> list[Outcome]:
        """One outcome per reading, in the same order. `deadline` is in seconds of the clock; it returns soon after it."""
        ids = [(reading.device_id.int, reading.reading_id.int) for reading in readings]
        first_of = dict(zip(reversed(ids), reversed(readings), strict=True))
        order = sorted(first_of)  # the key's: two batches that lock rows crosswise deadlock
        settled = await self._settle([first_of[id_] for id_ in order], deadline)
        outcome_of = dict(zip(order, settled, strict=True))
        repeats = len(order) < len(ids)
        outcomes = _for_each(ids, readings, first_of, outcome_of) if repeats else [outcome_of[id_] for id_ in ids]
        _count(outcomes)
        return outcomes

    async def _settle(self, batch: Sequence[Reading], deadline: float, *, maybe_stored: bool = False) -> list[Outcome]:
        pause_s, needs_s = BACKOFF_FIRST_S, 0.0
        while (left_s := deadline - self._clock()) > needs_s:
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
            needs_s = RETRY_NEEDS_S
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


class AtomicCommitter(Committer):
    """Stores all of a batch or raises `NotAll`. It may be long, so it is worked on in steps, and others have their turn in between."""

    _atomic = True

    async def commit(self, readings: Sequence[Reading], deadline: float) -> list[Outcome]:
        """As of `Committer`."""
        ids: list[Id] = []
        first_of: dict[Id, Reading] = {}
        runs: list[list[Id]] = []
        for part in parts(readings):
            ids_here = [(reading.device_id.int, reading.reading_id.int) for reading in part]
            here = dict(zip(reversed(ids_here), reversed(part), strict=True))
            for known in here.keys() & first_of.keys():
                del here[known]
            first_of.update(here)
            if not all(map(same_request, part, map(first_of.__getitem__, ids_here))):
                raise NotAll([Unstorable(_TWO_CONTENTS)] * len(readings))
            ids += ids_here
            runs.append(sorted(here))
            await self._sleep(0)
        order: list[Id] = []
        rows: list[Reading] = []
        merged = heapq.merge(*runs)
        while run := list(itertools.islice(merged, ROWS_AT_A_TIME)):
            order += run
            rows += map(first_of.__getitem__, run)
            await self._sleep(0)
        try:
            settled = await self._settle(rows, deadline)
        except NotAll as error:
            raise NotAll(await self._told(ids, readings, first_of, order, error.outcomes)) from None
        outcomes = await self._told(ids, readings, first_of, order, settled)
        for told in parts(outcomes):
            _count(told)
        return outcomes

    async def _told(
        self,
        ids: Sequence[Id],
        readings: Sequence[Reading],
        first_of: Mapping[Id, Reading],
        order: Sequence[Id],
        settled: Sequence[Outcome],
    ) -> list[Outcome]:
        outcome_of: dict[Id, Outcome] = {}
        for run, outcomes in zip(parts(order), parts(settled), strict=True):
            outcome_of.update(zip(run, outcomes, strict=True))
            await self._sleep(0)
        told: list[Outcome] = []
        for part, part_of_readings in zip(parts(ids), parts(readings), strict=True):
            told += _for_each(part, part_of_readings, first_of, outcome_of)
            await self._sleep(0)
        return told


def _for_each(
    ids: Sequence[Id], readings: Sequence[Reading], first_of: Mapping[Id, Reading], outcome_of: Mapping[Id, Outcome]
) -> list[Outcome]:
    """The outcomes of the sorted, folded batch for the readings as they came."""
    return [
        outcome_of[id_] if reading is first_of[id_] else _repeated(reading, first_of[id_], outcome_of[id_])
        for id_, reading in zip(ids, readings, strict=True)
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


def _count(outcomes: Iterable[Outcome]) -> None:
    """Into the metrics, once per batch; a flag is counted when its reading is stored, not when it is repeated."""
    became: Counter[str] = Counter()
    flags: Counter[tuple[str, ...]] = Counter()
    for outcome in outcomes:
        if isinstance(outcome, Committed):
            became["replayed" if outcome.replayed else "committed"] += 1
            if outcome.flags and not outcome.replayed:
                flags[outcome.flags] += 1
        else:
            became[_LABELS[type(outcome)]] += 1
    for label, number in became.items():
        metrics.READINGS.labels(label).inc(number)
    for together, number in flags.items():
        for flag in together:
            metrics.FLAGGED.labels(flag).inc(number)
