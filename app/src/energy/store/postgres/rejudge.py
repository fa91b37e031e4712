"""Judges stored readings again, around those that came late or at the same moment."""

from __future__ import annotations

from collections.abc import Sequence

from energy.domain.checks import CheckPolicy
from energy.store.ports import Place
from energy.store.postgres import statements
from energy.store.postgres.database import Database, plans_for
from energy.store.postgres.rows import spike_argument


class PostgresRejudge:
    """The `RejudgeStore`."""

    def __init__(self, database: Database, policy: CheckPolicy, timeout_s: float) -> None:
        self._database = database
        self._policy = policy
        self._timeout_s = timeout_s

    async def rejudge(self, places: Sequence[Place]) -> int:
        """See `RejudgeStore.rejudge`."""
        arguments = (
            [place.device_id for place in places],
            [place.reading_id for place in places],
            ",".join([place.register for place in places]),
            [place.read_at for place in places],
            spike_argument(self._policy),
        )
        async with self._database.work(self._timeout_s, plans=plans_for(len(places))) as session:
            done = await session.execute(statements.REJUDGE, *arguments)
        return int(done.removeprefix("UPDATE "))
