"""What the database says against what the client was told: lost, duplicated, stored although refused.

A reading counts as lost when any answer acknowledged it (200 or 201) and the database has no row of it. Readings whose
answer never came may be in the database or not: both are right, and neither is counted as lost or as a fault. The fault
tests use the same words (tests/fault/checker.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

import asyncpg
import numpy as np

from loadtest.ledger import Claims, code_of, id_range

ROWS_A_FETCH = 10_000
QUERIES = {
    "r": "select reading_id as id, status from readings where reading_id between $1 and $2",
    "d": "select device_id as id, status from readings where device_id between $1 and $2",
}


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows of this run in the database: how many of each reading, and how many carry a flag."""

    rows_of: Counter[int]
    flagged: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Readings, not requests. `None`: not counted, because no database could be asked."""

    sent: int
    acknowledged: int
    shed: int
    refused: int
    failed: int
    flagged: int | None = None
    stored: int | None = None
    lost: int | None = None
    duplicated: int | None = None
    stored_though_refused: int | None = None
    stored_unacknowledged: int | None = None

    def as_dict(self) -> dict[str, int | None]:
        return asdict(self)

    @property
    def sound(self) -> bool | None:
        """Nothing lost, doubled or stored against our word; `None` if nobody can tell (no count, or nothing acknowledged)."""
        if self.lost is None or self.acknowledged == 0:
            return None
        return not (self.lost or self.duplicated or self.stored_though_refused)


async def stored(database_url: str, run: str, by: str) -> Stored:
    """Every row this run left behind, found by its ids."""
    first, last = id_range(run)
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    rows_of: Counter[int] = Counter()
    flagged = 0
    try:
        async with connection.transaction(readonly=True):
            cursor = await connection.cursor(QUERIES[by], first, last)
            while rows := await cursor.fetch(ROWS_A_FETCH):
                rows_of.update(code_of(row["id"]) for row in rows)
                flagged += sum(row["status"] == "flagged" for row in rows)
    finally:
        await connection.close()
    return Stored(rows_of, flagged)


def judge(claims: Claims, found: Stored | None) -> Verdict:
    """Sets the two records against each other."""
    known = {
        "sent": claims.sent,
        "acknowledged": len(claims.acknowledged),
        "shed": len(claims.shed),
        "refused": len(claims.refused),
        "failed": len(claims.failed),
    }
    if found is None:
        return Verdict(**known)
    there = np.fromiter(found.rows_of.keys(), dtype=np.int64, count=len(found.rows_of))
    return Verdict(
        **known,
        flagged=found.flagged,
        stored=len(there),
        lost=len(np.setdiff1d(claims.acknowledged, there, assume_unique=True)),
        duplicated=sum(found.rows_of.values()) - len(there),
        stored_though_refused=len(np.intersect1d(claims.refused, there, assume_unique=True)),
        stored_unacknowledged=len(
            np.setdiff1d(there, np.concatenate([claims.acknowledged, claims.refused]), assume_unique=True)
        ),
    )
