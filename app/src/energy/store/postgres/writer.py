"""Writes batches: one statement, one transaction, and an outcome for every row.

The usual batch is one round trip. Rows that the statement did not insert (they were there already, or a person should
look at them) are looked at in a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from energy import metrics
from energy.domain.checks import CheckPolicy
from energy.domain.reading import NEEDS_CONFIRMATION, Committed, Conflicting, Outcome, Reading, same_content
from energy.store.ports import Interrupted, NotAll, Poisoned
from energy.store.postgres import statements
from energy.store.postgres.database import Database, store_errors
from energy.store.postgres.rows import columns_of, doubtful_of, flags_of, policy_arguments, stored_of, type_of_record

Id = tuple[UUID, UUID]


class PostgresWriter:
    """The `BatchStore`. With `atomic` all rows are committed, or none."""

    def __init__(
        self, database: Database, policy: CheckPolicy, now: Callable[[], datetime], *, atomic: bool = False
    ) -> None:
        self._database = database
        self._policy = policy
        self._now = now
        self._atomic = atomic

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        """See `BatchStore.append`. Raises `NotAll` in an atomic store."""
        arguments = [*columns_of(batch), *policy_arguments(self._policy, self._now())]
        async with self._database.connection(timeout_s) as connection:
            with metrics.COMMIT_SECONDS.time(), store_errors():
                if self._atomic or any(reading.supersedes for reading in batch):
                    async with connection.transaction():
                        return await self._append_and_supersede(connection, batch, arguments, timeout_s)
                return await _append(connection, batch, arguments, timeout_s)

    async def _append_and_supersede(
        self, connection: asyncpg.Connection, batch: Sequence[Reading], arguments: Sequence[object], timeout_s: float
    ) -> list[Outcome]:
        corrections = [reading for reading in batch if reading.supersedes]
        done_before = {
            (r.device_id, r.reading_id)
            for r in corrections
            if await connection.fetchrow(statements.FIND, r.device_id, r.reading_id, timeout=timeout_s)
        }
        outcomes = await _append(connection, batch, arguments, timeout_s)
        if self._atomic and not all(isinstance(outcome, Committed) for outcome in outcomes):
            raise NotAll(outcomes)
        outcome_of = dict(zip([(r.device_id, r.reading_id) for r in batch], outcomes, strict=True))
        for reading in corrections:
            key = (reading.device_id, reading.reading_id)
            if key not in done_before and isinstance(outcome_of[key], Committed):
                await _supersede(connection, reading, timeout_s)
        return outcomes


async def _supersede(connection: asyncpg.Connection, correction: Reading, timeout_s: float) -> None:
    """Of two corrections at once only the first may stand: the second finds nothing left to supersede."""
    done = await connection.execute(
        statements.SUPERSEDE, correction.device_id, correction.supersedes, timeout=timeout_s
    )
    if done != "UPDATE 1":
        raise Poisoned("the reading has been corrected already")


async def _append(
    connection: asyncpg.Connection, batch: Sequence[Reading], arguments: Sequence[object], timeout_s: float
) -> list[Outcome]:
    rows = await connection.fetch(statements.APPEND, *arguments, timeout=timeout_s)
    inserted: dict[Id, Outcome] = {(row[0], row[1]): Committed(row[2], flags_of(row[3])) for row in rows}
    missing = [reading for reading in batch if (reading.device_id, reading.reading_id) not in inserted]
    if missing:
        again = [*columns_of(missing), *arguments[9:]]
        reviewed = await connection.fetch(statements.REVIEW, *again, timeout=timeout_s)
        row_of: dict[Id, type_of_record] = {(row["device_id"], row["reading_id"]): row for row in reviewed}
        for reading in missing:
            key = (reading.device_id, reading.reading_id)
            inserted[key] = _not_inserted(reading, row_of[key])
    return [inserted[reading.device_id, reading.reading_id] for reading in batch]


def _not_inserted(reading: Reading, row: type_of_record) -> Outcome:
    if row["register"] is None:
        doubtful = doubtful_of(row)
        if NEEDS_CONFIRMATION.isdisjoint(doubtful.flags):
            raise Interrupted("the previous reading changed while this one was compared with it")
        return doubtful
    stored = stored_of(row, flags="stored_flags")
    if not same_content(reading, stored):
        return Conflicting(stored)
    # The time it was taken in is exact to the microsecond: equal means that an attempt of this very request stored it.
    return Committed(stored.period, stored.flags, replayed=stored.received_at != reading.received_at)
