"""`make bench-years`: what a person waits for while 1000 readings a second come in beside 20 million of older months.

BENCH_DATABASE_URL names a database that was filled like this before; without it one is filled, which takes minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from rich.table import Table

from energy.http.auth import new_key
from energy.service import database_of
from energy.settings import Settings
from energy.store import migrations
from energy.store.postgres.keys import PostgresKeys
from tools.bench import servers
from tools.bench.load import console
from tools.bench.steady import steady
from tools.local.postgres import Postgres

METERS = int(os.environ.get("BENCH_METERS", "1000000"))
MONTHS = int(os.environ.get("BENCH_MONTHS", "20"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
RATE = 1_000
EVERY_S = 0.25
P99_MAX_MS = 50

_METERS = """
INSERT INTO meters (device_id, account_no, installed_at)
SELECT gen_random_uuid(), 'A-' || n, '2015-01-01' FROM generate_series(1, $1::int) n
"""
_MONTH = """
INSERT INTO readings (device_id, reading_id, register, value, read_at, received_at, period, source, status)
SELECT device_id, gen_random_uuid(), 'T0', random() * 99999, month + '19 days'::interval, month + '19 days'::interval, month,
       'meter', 'accepted'
FROM (SELECT device_id, (date_trunc('month', now()) - $1::int * '1 month'::interval)::date AS month FROM meters ORDER BY random()) m
"""
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename = 'readings' AND indexname <> 'readings_pkey'"


async def fill(dsn: str) -> None:
    """A month after the other, the oldest first, and the indexes of the schema after them: that is a quarter of the time."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '1GB'")
    await connection.execute(_METERS, METERS, timeout=600)
    indexes = [row["indexdef"] for row in await connection.fetch(_INDEXES)]
    for definition in indexes:
        await connection.execute(f"DROP INDEX {definition.split()[2]}")
    await connection.execute("ALTER TABLE readings DROP CONSTRAINT readings_pkey")
    for months_ago in range(MONTHS, 0, -1):
        await connection.execute(_MONTH, months_ago, timeout=600)
    for statement in ("ALTER TABLE readings ADD PRIMARY KEY (device_id, reading_id)", *indexes, "VACUUM ANALYZE"):
        await connection.execute(statement, timeout=3_600)
    await connection.close()


@contextlib.contextmanager
def database() -> Iterator[tuple[str, list[int]]]:
    """A filled one, and the process of it where it is ours."""
    if named := os.environ.get("BENCH_DATABASE_URL"):
        yield named, []
        return
    with Postgres("-c max_wal_size=4GB") as server:
        asyncio.run(migrations.migrate(server.dsn, cockroach=False, timeout_s=10))
        began = time.monotonic()
        asyncio.run(fill(server.dsn))
        console.print(
            f"  {METERS * MONTHS:,} readings of {METERS:,} meters, filled in {time.monotonic() - began:.0f} s"
        )
        yield server.dsn, [server.pid]


async def known(dsn: str) -> tuple[str, list[str], int]:
    """A key that may do everything, some meters, and how many readings there are."""
    database = database_of(Settings(), dsn)
    token, key = new_key(frozenset({"ingest", "read"}), None, None, None)
    await PostgresKeys(database, 10).create([(key, "bench-years")])
    await database.close()
    connection = await asyncpg.connect(dsn)
    devices = [str(row["device_id"]) for row in await connection.fetch("SELECT device_id FROM meters LIMIT 1000")]
    rows = await connection.fetchval("SELECT count(*) FROM readings", timeout=600)
    await connection.close()
    return token, devices, rows


def ask(base: str, path: str, token: str) -> float:
    """Milliseconds from the request to the first byte of the body, on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=30)
    began = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read(1)
    took_ms = (time.perf_counter() - began) * 1000
    connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{path} was answered {answer.status}")
    return took_ms


def measure(dsn: str, postgres: list[int]) -> dict[str, list[float]]:
    """The times of each question, asked in turn for SECONDS."""
    token, devices, rows = asyncio.run(known(dsn))
    today = datetime.now(UTC)
    last_month = today.replace(day=1) - timedelta(days=1)
    took: dict[str, list[float]] = {}
    console.print(f"[bold]{rows:,} readings in the table, {RATE} a second for {SECONDS:.0f} s[/bold]")
    with servers.service(dsn, {"ENERGY_LOG_LEVEL": "ERROR"}) as server:
        ask(
            server.base, "/v1/progress", token
        )  # the first one of a database that nobody has asked yet may count for seconds
        load = multiprocessing.get_context("spawn").Process(
            target=steady,
            args=("beside", "years", server, RATE, SECONDS),
            kwargs={"postgres": postgres, "token": token},
        )
        load.start()
        while load.is_alive():
            for what, path in (
                ("progress", "/v1/progress"),
                ("first byte of an export, this month", f"/v1/export?period={today:%Y-%m}"),
                ("first byte of an export, last month", f"/v1/export?period={last_month:%Y-%m}"),
                ("a page of history", f"/v1/devices/{random.choice(devices)}/readings?limit=50"),  # noqa: S311 - any of them
            ):
                took.setdefault(what, []).append(ask(server.base, path, token))
            time.sleep(EVERY_S)
        load.join()
    return took


def main() -> int:
    """One run; exit code 0 whatever the figures are, because they are for reading."""
    with database() as (dsn, postgres):
        took = measure(dsn, postgres)
    table = Table("what", "asked", "p50 ms", "p99 ms", "most ms", f"p99 < {P99_MAX_MS} ms")
    document = {}
    for what, times in took.items():
        times.sort()
        p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
        document[what] = {"asked": len(times), "p50_ms": p50, "p99_ms": p99, "max_ms": times[-1]}
        met = "[green]yes[/green]" if p99 < P99_MAX_MS else "[red]no[/red]"
        table.add_row(what, str(len(times)), f"{p50:.1f}", f"{p99:.1f}", f"{times[-1]:.1f}", met)
    console.print(table)
    Path("build").mkdir(exist_ok=True)
    Path("build/bench-years.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
