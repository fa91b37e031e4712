"""Meters and accounts in bulk: what is known of the devices that will send readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from energy.store.ports import Poisoned
from energy.store.postgres import statements
from energy.store.postgres.database import Database


@dataclass(frozen=True, slots=True)
class MeterRow:
    """A meter with its account, as a file has it: text that has been checked; an empty time is unknown."""

    account_no: str
    region: str
    time_zone: str
    device_id: str
    serial: str
    digits: int
    decimals: int
    multiplier: str
    installed_at: str
    removed_at: str
    account_since: str = ""


class PostgresMeters:
    """Upserts: a file can be imported again, and changes no column that it doesn't have."""

    def __init__(self, database: Database, timeout_s: float) -> None:
        self._database = database
        self._timeout_s = timeout_s

    async def knows_zone(self, name: str) -> bool:
        """Whether the database can compute days of that time zone."""
        try:
            async with self._database.work(self._timeout_s) as session:
                await session.fetch(statements.LOCAL_TIME, name)
        except Poisoned:
            return False
        return True

    async def upsert(self, rows: Sequence[MeterRow], columns: Sequence[str]) -> None:
        """Accounts first, then meters, in one transaction.

        A meter that changes its account keeps whose it was until `account_since`, or else until now. Of rows that are
        there already only `columns` change; new ones get the others as they are in `rows`.
        """
        async with self._database.work(self._timeout_s, together=True) as session:
            await session.execute(
                statements.ACCOUNTS_IMPORT,
                [r.account_no for r in rows], [r.region for r in rows], [r.time_zone for r in rows], columns,
            )  # fmt: skip
            since = [r.account_since for r in rows]
            await session.execute(
                statements.METERS_LEFT, [r.device_id for r in rows], [r.account_no for r in rows], since
            )
            await session.execute(
                statements.METERS_IMPORT,
                [r.device_id for r in rows], [r.account_no for r in rows], [r.serial for r in rows],
                [str(r.digits) for r in rows], [str(r.decimals) for r in rows], [r.multiplier for r in rows],
                [r.installed_at for r in rows], [r.removed_at for r in rows], columns, since,
            )  # fmt: skip
