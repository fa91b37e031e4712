"""The database of a simulated history: it keeps its word as the store's port gives it, and fails in every way that it allows.

What is down to chance comes from one seeded generator. Everything that happens is noted with a step, so that the judge can tell
what came first even when the virtual clock stood still.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from energy.domain.reading import (
    Committed,
    Conflicting,
    Doubtful,
    Outcome,
    Reading,
    Stored,
    same_content,
)
from energy.store.ports import Interrupted, NotAll, Poisoned, Unavailable

PERIOD = date(2026, 11, 1)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
POISONED, DOUBTFUL = "poisoned", "doubtful"
"""A reading's `source` says what the database makes of it."""

Id = tuple[UUID, UUID]
FAULTS = (
    "slow", "hangs", "unavailable", "unavailable late", "interrupted before", "interrupted after",
    "interrupted, committed later", "defect before", "defect after",
)  # fmt: skip


class Defect(Exception):
    """An exception that no port promises."""


@dataclass(slots=True)
class Attempt:
    """One call of `append`."""

    queue: str
    readings: Sequence[Reading]
    began: int
    began_s: float
    timeout_s: float
    ended: int | None = None
    committed: int | None = None
    stored: list[Id] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """What is in the database, and the step since which it has been."""

    stored: Stored
    step: int


class Database:
    """Rows, and everything that was asked of it."""

    def __init__(self, chance: random.Random, fault_share: float, faults: Sequence[str], latency_s: float) -> None:
        self._chance = chance
        self._fault_share = fault_share
        self._faults = faults
        self._latency_s = latency_s
        self.near = not fault_share and latency_s <= 0.001
        self.steps = itertools.count(1)
        self.rows: dict[Id, Row] = {}
        self.attempts: list[Attempt] = []

    def fault(self) -> str | None:
        """What becomes of the next call."""
        return self._chance.choice(self._faults) if self._chance.random() < self._fault_share else None

    def latency_s(self) -> float:
        """How long something takes; often nothing, for then the order of callbacks counts."""
        return self._chance.choice((0.0, 0.5, 1.0, 2.0)) * self._latency_s

    def commit(self, attempt: Attempt, *, atomic: bool) -> list[Outcome]:
        """One transaction. Raises `Poisoned` or `NotAll`, and then nothing of it is stored."""
        if any(reading.source == POISONED for reading in attempt.readings):
            raise Poisoned("this row can't be stored")
        step = next(self.steps)
        outcomes = [self._outcome(reading) for reading in attempt.readings]
        if atomic and not all(isinstance(outcome, Committed) for outcome in outcomes):
            raise NotAll(outcomes)
        for reading, outcome in zip(attempt.readings, outcomes, strict=True):
            if isinstance(outcome, Committed) and not outcome.replayed:
                self.rows.setdefault(id_of(reading), Row(_stored(reading), step))
                attempt.stored.append(id_of(reading))
        attempt.committed = step
        return outcomes

    def _outcome(self, reading: Reading) -> Outcome:
        row = self.rows.get(id_of(reading))
        if row is not None:
            return (
                Committed(PERIOD, (), replayed=True) if same_content(reading, row.stored) else Conflicting(row.stored)
            )
        return Doubtful((), None) if reading.source == DOUBTFUL else Committed(PERIOD, ())


class SimulatedStore:
    """The port that one queue or batch endpoint writes through."""

    def __init__(self, database: Database, queue: str, *, atomic: bool = False) -> None:
        self._database = database
        self._queue = queue
        self._atomic = atomic

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        """As the port says, within `timeout_s`."""
        database, now = self._database, asyncio.get_running_loop().time()
        attempt = Attempt(self._queue, tuple(batch), next(database.steps), now, timeout_s)
        database.attempts.append(attempt)
        try:
            return await self._append(attempt, database.fault(), min(database.latency_s(), timeout_s))
        finally:
            attempt.ended = next(database.steps)

    async def _append(self, attempt: Attempt, fault: str | None, latency_s: float) -> list[Outcome]:
        match fault:
            case None:
                await asyncio.sleep(latency_s)
                return self._commit(attempt)
            case "slow":
                await asyncio.sleep(attempt.timeout_s * 0.9)
                return self._commit(attempt)
            case "hangs":
                await asyncio.sleep(attempt.timeout_s)
                raise Interrupted
            case "unavailable":
                raise Unavailable
            case "unavailable late":
                await asyncio.sleep(latency_s)
                raise Unavailable
            case "interrupted before":
                await asyncio.sleep(latency_s)
                raise Interrupted
            case "interrupted after":
                await asyncio.sleep(latency_s)
                self._commit(attempt)
                await asyncio.sleep(min(latency_s, attempt.timeout_s - latency_s))
                raise Interrupted
            case "interrupted, committed later":
                asyncio.get_running_loop().call_later(latency_s * 2, self._commit_unheard, attempt)
                await asyncio.sleep(latency_s)
                raise Interrupted
            case "defect before":
                await asyncio.sleep(latency_s)
                raise Defect
            case _:
                self._commit(attempt)
                raise Defect

    def _commit(self, attempt: Attempt) -> list[Outcome]:
        return self._database.commit(attempt, atomic=self._atomic)

    def _commit_unheard(self, attempt: Attempt) -> None:
        try:
            self._commit(attempt)
        except (Poisoned, NotAll):
            return  # rolled back, and nobody is there to be told


def id_of(reading: Reading) -> Id:
    """What a reading is known by."""
    return reading.device_id, reading.reading_id


def _stored(reading: Reading) -> Stored:
    return Stored(
        reading.device_id, reading.reading_id, reading.register, Decimal(reading.value), reading.read_at,
        reading.received_at, PERIOD, reading.source, "accepted", (), reading.supersedes, reading.key_id,
    )  # fmt: skip
