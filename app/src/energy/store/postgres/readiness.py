"""Whether this process should get requests, as far as the database has a say in it.

A database that goes away takes no pod out of its Service: a pod answers 503 with a time to come back, which is better than
a refused connection, and history may still come from a replica. Only before its schema has been seen for the first time, when
it answers and refuses this service or has another schema, or when it has been away for `patience_s` (then it may be this
pod's own network), the pod is unready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from energy.store.ports import Poisoned, StoreError
from energy.store.postgres import statements
from energy.store.postgres.database import Database

ASKED_AT_MOST_EVERY_S = 1.0
_ANSWER_WITHIN_S = 1.0
"""Less than a kubelet waits for its probe by default."""


class SchemaWatch:
    """Asks once for all who want to know, on a database handle of its own: readiness must not wait behind readings."""

    def __init__(
        self, database: Database, wanted: str, zone: str, clock: Callable[[], float], patience_s: float
    ) -> None:
        self._database = database
        self._wanted = wanted
        self._zone = zone
        self._clock = clock
        self._patience_s = patience_s
        self._complaint: str | None = "starting"
        self._asked_at = float("-inf")
        self._well_at: float | None = None
        self._asking: asyncio.Task[None] | None = None

    async def complaint(self) -> str | None:
        """Why this process should get no requests, or nothing."""
        if self._clock() - self._asked_at >= ASKED_AT_MOST_EVERY_S:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(), name="readiness")
            await asyncio.shield(self._asking)
        return self._complaint

    async def _ask(self) -> None:
        try:
            async with self._database.work(_ANSWER_WITHIN_S) as session:
                row = await session.fetchrow(statements.SCHEMA_VERSION)
                if self._well_at is None:
                    await session.fetchrow(statements.LOCAL_TIME, self._zone)
        except Poisoned:
            self._complaint = f"the database does not know the time zone {self._zone} (ENERGY_TIME_ZONE)"
        except StoreError as error:
            if error.reason == "schema":
                self._complaint = f"the schema is not there ({error}); run `energy migrate`"
            elif error.reason == "refused" or self._well_at is None or self._clock() - self._well_at > self._patience_s:
                self._complaint = str(error)
        else:
            version = None if row is None else str(row["version_num"])
            self._complaint = (
                f"the schema is at {version or 'nothing'}, this version needs {self._wanted}; run `energy migrate`"
                if version is None or version < self._wanted
                else None
            )
            self._well_at = self._clock()
        self._asked_at = self._clock()
