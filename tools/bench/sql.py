"""One connection that drives statements directly: the bare insert, the service's whole statement, and its usual plan mode."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg

from energy.domain.checks import CheckPolicy
from energy.domain.reading import Reading
from energy.domain.window import SubmissionWindow
from energy.store.postgres.rows import columns_of, policy_arguments
from energy.store.postgres.statements import APPEND

BARE = """
INSERT INTO bare SELECT d, i, r, v::numeric(12,3), t, s
FROM unnest($1::uuid[], $2::uuid[], string_to_array($3::text, ','), string_to_array($4::text, ','), $5::timestamptz[],
            string_to_array($6::text, ',')) AS x (d, i, r, v, t, s)
"""
BARE_INDEXED = BARE.replace("INTO bare ", "INTO bare_indexed ")
TABLES = """
CREATE TABLE IF NOT EXISTS bare (device_id uuid, reading_id uuid, register text, value numeric(12,3), read_at timestamptz, source text);
CREATE TABLE IF NOT EXISTS bare_indexed (LIKE bare, period date DEFAULT current_date, PRIMARY KEY (device_id, reading_id));
CREATE INDEX IF NOT EXISTS bare_history ON bare_indexed (device_id, register, read_at DESC) INCLUDE (value);
CREATE INDEX IF NOT EXISTS bare_by_period ON bare_indexed (period, device_id);
TRUNCATE bare, bare_indexed;
INSERT INTO bare_indexed SELECT device_id, reading_id, register, value, read_at, source, period FROM readings
"""
"""With the same indexes as `readings`, and as many rows in them."""


def fresh(rows: int) -> list[Reading]:
    """So many readings of devices that nobody has seen, in the key's order."""
    now = datetime.now(UTC)
    made = [Reading(uuid4(), uuid4(), "T0", str(n % 99_999), now, now, "meter") for n in range(rows)]
    return sorted(made, key=lambda reading: (reading.device_id, reading.reading_id))


async def rows_per_s(connection: asyncpg.Connection, sql: str, rows: int, seconds: float) -> float:
    """Rows a second in batches of `rows`, without the time it takes to make them."""
    policy = CheckPolicy(SubmissionWindow(15, 26), "Europe/Samara", 300.0, 500.0)
    spent, done = 0.0, 0
    while spent < seconds:
        batch = fresh(rows)
        columns = columns_of(batch)
        arguments: Sequence[object] = (
            [*columns, *policy_arguments(policy, datetime.now(UTC))] if sql == APPEND else [*columns[:5], columns[6]]
        )
        started = time.perf_counter()
        await connection.fetch(sql, *arguments)
        spent += time.perf_counter() - started
        done += rows
    return done / spent


async def fill(connection: asyncpg.Connection, rows: int) -> None:
    """So many readings of last month, quickly."""
    await connection.execute(
        """INSERT INTO readings (device_id, reading_id, register, value, read_at, period, source, status, flags)
           SELECT gen_random_uuid(), gen_random_uuid(), 'T0', (random() * 99999)::numeric(12,3), now() - interval '30 days',
                  date_trunc('month', now() - interval '30 days')::date, 'meter', 'accepted', ''
           FROM generate_series(1, $1::int)""",
        rows,
        timeout=600,
    )
    await connection.execute("VACUUM ANALYZE readings", timeout=600)
