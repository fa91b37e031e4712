"""Meters and accounts in bulk: what is known of the devices that will send readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from energy.store.postgres import statements
from energy.store.postgres.database import Database, store_errors


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


class PostgresMeters:
    """Upserts: a file can be imported again."""

    def __init__(self, database: Database, timeout_s: float) -> None:
        self._database = database
        self._timeout_s = timeout_s

    async def upsert(self, rows: Sequence[MeterRow]) -> None:
        """Accounts first, then meters; each statement commits by itself and can be repeated."""
        async with self._database.connection(self._timeout_s) as connection:
            with store_errors():
                await connection.execute(
                    statements.ACCOUNTS_IMPORT,
                    [r.account_no for r in rows], [r.region for r in rows], [r.time_zone for r in rows],
                    timeout=self._timeout_s,
                )  # fmt: skip
                await connection.execute(
                    statements.METERS_IMPORT,
                    [r.device_id for r in rows], [r.account_no for r in rows], [r.serial for r in rows],
                    [str(r.digits) for r in rows], [str(r.decimals) for r in rows], [r.multiplier for r in rows],
                    [r.installed_at for r in rows], [r.removed_at for r in rows],
                    timeout=self._timeout_s,
                )  # fmt: skip
