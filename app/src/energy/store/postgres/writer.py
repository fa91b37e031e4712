"""Writes readings: one statement per batch, and an outcome for every row.

The usual batch is one round trip. Rows that the statement did not insert (they were there already, or a person should
look at them) are looked at in a second one.

What was found is acknowledged no earlier than what was written. A row can be there and be nowhere else: PostgreSQL shows what
it has committed locally once somebody ends the wait for the standby. So an outcome that rests on a found row writes a WAL
record of its own, and its COMMIT waits for the standby to have everything before it.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from energy import metrics
from energy.domain.checks import CheckPolicy
from energy.domain.reading import (
    NEEDS_CONFIRMATION,
    AlreadySuperseded,
    Committed,
    Conflicting,
    Outcome,
    Reading,
    Unstorable,
    same_content,
)
from energy.store.ports import ROWS_AT_A_TIME, Interrupted, NotAll, Poisoned, parts
from energy.store.postgres import statements
from energy.store.postgres.database import Database, Dialect, Plans, Row, Session, plans_for
from energy.store.postgres.rows import columns_of, doubtful_of, flags_of, policy_arguments, stored_of

Id = tuple[UUID, UUID]
_id: Callable[[Reading], Id] = operator.attrgetter("device_id", "reading_id")


@dataclass(frozen=True, slots=True)
class PostgresWriter:
    """The `BatchStore` of plain batches: each row by itself, all of them in one commit."""

    database: Database
    policy: CheckPolicy
    now: Callable[[], datetime]

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        """See `BatchStore.append`."""
        with metrics.COMMIT_SECONDS.time():
            async with self.database.work(timeout_s, plans=plans_for(len(batch))) as session:
                return await self.write(session, batch)

    async def write(self, session: Session, batch: Sequence[Reading]) -> list[Outcome]:
        """Inserts what is new and looks at the rest."""
        arguments = [*columns_of(batch), *policy_arguments(self.policy, self.now())]
        rows = await session.fetch(statements.APPEND if _is_usual(batch) else statements.APPEND_BESIDE, *arguments)
        outcome_of: dict[Id, Outcome] = {(row[0], row[1]): Committed(row[2], flags_of(row[3])) for row in rows}  # type: ignore[index]  # records have positions too
        missing = [reading for reading in batch if _id(reading) not in outcome_of]
        if missing:
            outcome_of.update(await self.review(session, missing))
        return [outcome_of[_id(reading)] for reading in batch]

    async def review(self, session: Session, batch: Sequence[Reading]) -> dict[Id, Outcome]:
        """What is to be said of rows that were not inserted."""
        arguments = [*columns_of(batch), *policy_arguments(self.policy, self.now())]
        rows = await session.fetch(statements.REVIEW, *arguments)
        row_of: dict[Id, Row] = {(row["device_id"], row["reading_id"]): row for row in rows}
        if any(row["register"] is not None for row in rows):
            await self.wait_for_found(session)
        return {_id(reading): _not_inserted(reading, row_of[_id(reading)]) for reading in batch}

    async def wait_for_found(self, session: Session) -> None:
        """Makes this unit's COMMIT wait for as much as that of the rows it has found."""
        if self.database.dialect is Dialect.POSTGRES:
            await session.execute(statements.WAL_MARK)


@dataclass(frozen=True, slots=True)
class AtomicWriter:
    """The `BatchStore` of atomic batches: all rows are committed, or none. Raises `NotAll` with the reason of each."""

    writer: PostgresWriter

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        """See `BatchStore.append`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        try:
            with metrics.COMMIT_SECONDS.time():
                return await self._write(batch, timeout_s)
        except Poisoned as error:
            outcomes = await self._verdicts(batch, error, lambda: deadline - loop.time())
            if all(isinstance(outcome, Committed) for outcome in outcomes):  # each alone would do: it is none's fault
                outcomes = [Unstorable(str(error))] * len(batch)
            raise NotAll(outcomes) from error

    async def _write(self, batch: Sequence[Reading], timeout_s: float, *, keep: bool = True) -> list[Outcome]:
        database = self.writer.database
        plans = plans_for(min(len(batch), ROWS_AT_A_TIME))
        async with database.work(timeout_s, together=True, plans=plans) as session:
            outcomes: list[Outcome] = []
            for part in parts(batch):
                outcomes += await self.writer.write(session, part)
            if not keep or not all(isinstance(outcome, Committed) for outcome in outcomes):
                raise NotAll(outcomes)  # rolls back
            return outcomes

    async def _verdicts(self, batch: Sequence[Reading], error: Poisoned, left_s: Callable[[], float]) -> list[Outcome]:
        """Bisection by attempts that are rolled back: the row at fault ends up alone, the others are not blamed for it."""
        if len(batch) == 1:
            return [Unstorable(str(error))]
        middle = len(batch) // 2
        outcomes: list[Outcome] = []
        for half in (batch[:middle], batch[middle:]):
            try:
                await self._write(half, left_s(), keep=False)
            except NotAll as undone:
                outcomes += undone.outcomes
            except Poisoned as narrower:
                outcomes += await self._verdicts(half, narrower, left_s)
        return outcomes


@dataclass(frozen=True, slots=True)
class CorrectionWriter:
    """The `BatchStore` of corrections: one row, and the mark on the one it supersedes, in one transaction."""

    writer: PostgresWriter

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        """See `BatchStore.append`; the batch is one correction."""
        (correction,) = batch
        try:
            with metrics.COMMIT_SECONDS.time():
                async with self.writer.database.work(timeout_s, together=True, plans=Plans.ONCE) as session:
                    return [await self._supersede(session, correction)]
        except NotAll as undone:
            return undone.outcomes

    async def _supersede(self, session: Session, correction: Reading) -> Outcome:
        """Of two corrections at once the second waits for the first, and finds nothing left to supersede."""
        marked = await session.execute(statements.SUPERSEDE, correction.device_id, correction.supersedes)
        if marked == "UPDATE 1":
            (outcome,) = await self.writer.write(session, [correction])
            if not isinstance(outcome, Committed):
                raise NotAll([outcome])  # rolls the mark back
            return outcome
        found = await session.fetchrow(statements.FIND, correction.device_id, correction.reading_id)
        if found is None:
            await self.writer.wait_for_found(session)
            return AlreadySuperseded()
        return (await self.writer.review(session, [correction]))[_id(correction)]


def _is_usual(batch: Sequence[Reading]) -> bool:
    """Whether nothing in it has to be compared with anything else in it, or left out of a comparison."""
    lines = {(reading.device_id.int, reading.register) for reading in batch}
    return len(lines) == len(batch) and not any(reading.supersedes for reading in batch[:1])


def _not_inserted(reading: Reading, row: Row) -> Outcome:
    if row["register"] is None:
        doubtful = doubtful_of(row)
        if NEEDS_CONFIRMATION.isdisjoint(doubtful.flags):
            raise Interrupted("the previous reading changed while this one was compared with it", "moved")
        return doubtful
    stored = stored_of(row, flags="stored_flags")
    if not same_content(reading, stored):
        return Conflicting(stored)
    # The time it was taken in is exact to the microsecond: equal means that an attempt of this very request stored it.
    return Committed(stored.period, stored.flags, stored.received_at != reading.received_at, stored)
