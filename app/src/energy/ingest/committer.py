"""Brings a batch to an outcome for every reading in it, whatever the database does meanwhile.

It exists so that retrying, folding and isolating are in one place for single readings and for batch requests alike.
All of it rests on one fact: every reading has its id before the first attempt, so the same rows can be sent again.

Knows nothing of HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

Turn = Callable[[], Awaitable[None]]
"""Returns when the next step of a long batch may be taken."""

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


async def _next_round() -> None:
    await asyncio.sleep(0)


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

    async def commit(self, readings: Sequence[Reading], deadline: float, turn: Turn = _next_round) -> list[Outcome]:
        """One outcome per reading, in the same order. `deadline` is in seconds of the clock; it returns soon after it.

        An atomic committer stores all of them or raises `NotAll`. A long batch is worked on in steps, with a `turn` in between.
        """
        fold = await _fold(readings, turn, compares=self._atomic)
        if self._atomic and fold.contradicts:
            raise NotAll([Unstorable(_TWO_CONTENTS)] * len(readings))
        try:
            settled = await self._settle(fold.rows, deadline)
        except NotAll as error:
            raise NotAll(await fold.unfold(error.outcomes, turn)) from None
        outcomes = await fold.unfold(settled, turn)
        for part in parts(outcomes):
            _count(part)
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


@dataclass(slots=True)
class _Fold:
    """A batch as it is sent: each id once, in the key's order (two batches that lock rows crosswise deadlock)."""

    readings: Sequence[Reading]
    ids: list[Id] = field(default_factory=list)
    first_of: dict[Id, Reading] = field(default_factory=dict)
    order: list[Id] = field(default_factory=list)
    rows: list[Reading] = field(default_factory=list)
    contradicts: bool = False

    async def unfold(self, settled: Sequence[Outcome], turn: Turn) -> list[Outcome]:
        """The outcomes of the rows for the readings as they came."""
        outcome_of: dict[Id, Outcome] = {}
        for ids, outcomes in zip(parts(self.order), parts(settled), strict=True):
            if outcome_of:
                await turn()
            outcome_of.update(zip(ids, outcomes, strict=True))
        told: list[Outcome] = []
        repeats = len(self.order) < len(self.ids)
        for ids, readings in zip(parts(self.ids), parts(self.readings), strict=True):
            if told:
                await turn()
            told += self._for_each(ids, readings, outcome_of) if repeats else [outcome_of[id_] for id_ in ids]
        return told

    def _for_each(
        self, ids: Sequence[Id], readings: Sequence[Reading], outcome_of: Mapping[Id, Outcome]
    ) -> list[Outcome]:
        return [
            outcome_of[id_]
            if reading is self.first_of[id_]
            else _repeated(reading, self.first_of[id_], outcome_of[id_])
            for id_, reading in zip(ids, readings, strict=True)
        ]


async def _fold(readings: Sequence[Reading], turn: Turn, *, compares: bool) -> _Fold:
    fold = _Fold(readings)
    runs: list[list[Id]] = []
    for part in parts(readings):
        if runs:
            await turn()
        ids = [(reading.device_id.int, reading.reading_id.int) for reading in part]
        new = dict(zip(reversed(ids), reversed(part), strict=True))
        if runs:
            for known in new.keys() & fold.first_of.keys():
                del new[known]
        fold.first_of.update(new)
        fold.ids += ids
        if compares and not all(map(same_request, part, map(fold.first_of.__getitem__, ids))):
            fold.contradicts = True
        runs.append(sorted(new))
    merged = heapq.merge(*runs) if len(runs) > 1 else itertools.chain(*runs)
    while order := list(itertools.islice(merged, ROWS_AT_A_TIME)):
        if fold.order:
            await turn()
        fold.order += order
        fold.rows += map(fold.first_of.__getitem__, order)
    return fold


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
