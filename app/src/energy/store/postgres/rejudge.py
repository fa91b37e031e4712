"""Judges stored readings again, around those that came late or at the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from energy.domain.checks import CheckPolicy
from energy.store.postgres import statements
from energy.store.postgres.database import Database, plans_for


class PostgresRejudge:
    """The `RejudgeStore`."""

    def __init__(self, database: Database, policy: CheckPolicy, timeout_s: float) -> None:
        self._database = database
        self._policy = policy
        self._timeout_s = timeout_s

    async def rejudge(self, ids: Sequence[tuple[UUID, UUID]]) -> int:
        """See `RejudgeStore.rejudge`."""
        devices, readings = (",".join(str(pair[n]) for pair in ids) for n in (0, 1))
        async with self._database.work(self._timeout_s, plans=plans_for(len(ids))) as session:
            done = await session.execute(statements.REJUDGE, devices, readings, str(self._policy.spike_kwh_per_day_max))
        return int(done.removeprefix("UPDATE "))
