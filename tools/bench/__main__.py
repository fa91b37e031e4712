"""`make bench`: one run, one machine, one table of ratios against the targets, and build/bench.json."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import msgspec
from rich.table import Table

from energy.http.auth import new_key
from energy.service import database_of
from energy.settings import Settings
from energy.store import migrations
from energy.store.postgres.keys import PostgresKeys
from energy.store.postgres.statements import APPEND
from tools.bench import servers, sql
from tools.bench.load import SECONDS, Point, console, wrk
from tools.bench.probe import Probe
from tools.local.postgres import Postgres

ROWS_BEFORE = int(os.environ.get("BENCH_ROWS", "1000000"))
_POSTGRES: list[int] = []  # the process of the database that this run has started


async def batches(what: str, table: str, server: servers.Server, items: int, clients: int) -> Point:
    """The batch endpoint: bodies are made beforehand, so that the client costs little."""
    posts = max(clients * 2, int(40_000 * SECONDS / items / 2))
    bodies = [
        msgspec.json.encode(
            [{"device_id": r.device_id, "value": int(r.value), "reading_id": r.reading_id} for r in sql.fresh(items)]
        )
        for _ in range(posts)
    ]
    done, took = 0, []
    async with httpx.AsyncClient(base_url=server.base, timeout=60) as client:

        async def work() -> None:
            nonlocal done
            while bodies:
                body = bodies.pop()
                started = time.perf_counter()
                answer = await client.post(
                    "/v1/readings/batch", content=body, headers={"content-type": "application/json"}
                )
                took.append((time.perf_counter() - started) * 1000)
                done += int(re.search(rb'"stored":(\d+)', answer.content)[1])  # type: ignore[index]  # a failure should end the run

        started = time.perf_counter()
        await asyncio.gather(*[work() for _ in range(clients)])
        spent = time.perf_counter() - started
    took.sort()
    point = Point(
        f"{what} {items}", table, clients, done / spent, took[len(took) // 2], took[int(len(took) * 0.99)], took[-1]
    )
    console.print(f"  {point.what:<28} {table:<6} c={clients:<5} {point.rate:>9,.0f} rows/s")
    return point


async def key_for(dsn: str) -> str:
    """An API key for the run."""
    database = database_of(Settings(), dsn)
    token, key = new_key(frozenset({"ingest"}), None, None, None)
    await PostgresKeys(database, 10).create([(key, "bench")])
    await database.close()
    return token


def measure_service(dsn: str, table: str, points: list[Point]) -> None:
    """Everything that goes over HTTP."""
    quiet = {"ENERGY_AUTH": "off", "ENERGY_LOG_LEVEL": "ERROR", "ENERGY_QUEUE_AGE_MAX_S": "10"}
    with servers.ceiling() as server:
        points.extend(wrk("ceiling", table, server, "/", c, postgres=_POSTGRES) for c in (32, 256))
    with servers.ceiling(processes=2) as server:
        points.append(wrk("ceiling, 2 processes", table, server, "/", 256, postgres=_POSTGRES))
    for strategy in ("group", "parallel", "sequential"):
        with servers.service(dsn, {**quiet, "ENERGY_WRITE_STRATEGY": strategy}) as server:
            points.extend(wrk(strategy, table, server, "/v1/values", c, postgres=_POSTGRES) for c in (32, 256))
    token = asyncio.run(key_for(dsn))
    with servers.service(dsn, {**quiet, "ENERGY_AUTH": "keys"}) as server:
        points.extend(
            wrk("whole path", table, server, "/v1/readings", c, postgres=_POSTGRES, token=token, key=True)
            for c in (1, 32, 256)
        )
    with servers.service(dsn, {**quiet, "ENERGY_AUTH": "keys", "ENERGY_WORKERS": "2"}) as server:
        points.append(
            wrk(
                "whole path, 2 processes", table, server, "/v1/readings", 256, postgres=_POSTGRES, token=token, key=True
            )
        )
    with servers.service(dsn, quiet) as server:
        points.extend(asyncio.run(batches("batch", table, server, items, 2)) for items in (1_000, 10_000))
    for what, limits in {"overload": {}, "overload, short queue": {"ENERGY_QUEUE_ROWS_MAX": "1000"}}.items():
        with servers.service(dsn, {**quiet, **limits}) as server:
            points.append(wrk(what, table, server, "/v1/values", 256, postgres=_POSTGRES))
            with Probe(server.base, "/v1/values") as probe:
                crowd = wrk(what, table, server, "/v1/values", 2_560, postgres=_POSTGRES)
            points.append(replace(crowd, probe_refused_p99_ms=probe.p99_ms(503), probe_stored_p99_ms=probe.p99_ms(201)))


async def measure_sql(dsn: str, table: str, points: list[Point]) -> None:
    """Everything that one connection does by itself."""
    for mode in ("force_custom_plan", "auto"):
        connection = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": mode, "jit": "off"})
        await connection.execute(sql.TABLES)
        statements = [("statement", APPEND)]
        if mode == "force_custom_plan":
            statements += [("bare unnest", sql.BARE), ("bare unnest, same indexes", sql.BARE_INDEXED)]
        for name, text in statements:
            for rows in (20, 200, 1_000, 10_000) if mode == "force_custom_plan" else (1_000,):
                what = f"{name} {rows}" + ("" if mode == "force_custom_plan" else ", usual plan cache")
                point = Point(what, table, 1, await sql.rows_per_s(connection, text, rows, SECONDS / 4))
                console.print(f"  {what:<40} {table:<6} {point.rate:>9,.0f} rows/s")
                points.append(point)
        await connection.close()


def verdicts(points: list[Point]) -> list[tuple[str, str, str, bool]]:
    """The targets: what was asked, what was reached, and whether that is enough."""
    rates = {(p.what, p.table, p.concurrency): p for p in points}
    asked = []
    for table in ("empty", "full"):

        def rate(what: str, concurrency: int = 1, table: str = table) -> float:
            return rates[what, table, concurrency].rate

        for suffix in ("", ", 2 processes"):
            whole, top = rate(f"whole path{suffix}", 256), rate(f"ceiling{suffix}", 256)
            asked.append(
                (f"whole path / ceiling{suffix}, c=256, {table}", "≥ 0.60", f"{whole / top:.2f}", whole >= 0.6 * top)
            )
            asked.append(
                (f"whole path{suffix}, committed/s, c=256, {table}", "≥ 6 000", f"{whole:,.0f}", whole >= 6000)
            )
        batch, alone = rate("batch 10000", 2), rate("statement 10000")
        asked.append(
            (f"batch / statement, 10 000 rows, {table}", "≥ 0.70", f"{batch / alone:.2f}", batch >= 0.7 * alone)
        )
        asked.append((f"batch rows/s, {table}", "≥ 25 000", f"{batch:,.0f}", batch >= 25_000))
        for bare in ("bare unnest", "bare unnest, same indexes"):
            share = rate("statement 1000") / rate(f"{bare} 1000")
            asked.append((f"statement / {bare}, 1 000 rows, {table}", "≥ 0.50", f"{share:.2f}", share >= 0.5))
        for what in ("overload", "overload, short queue"):
            share, crowd = rate(what, 2_560) / rate(what, 256), rates[what, table, 2_560]
            asked.append((f"{what}: goodput at 10× load / peak, {table}", "≥ 0.90", f"{share:.2f}", share >= 0.9))
            if crowd.probe_refused_p99_ms:
                slowest = crowd.probe_refused_p99_ms
                asked.append((f"{what}: refused within (p99), {table}", "< 50 ms", f"{slowest:.0f} ms", slowest < 50))
    return asked


def main() -> int:
    """Runs it all; exit code 0 whatever the figures are, because they are for reading."""
    if shutil.which("wrk") is None:
        console.print("bench: needs wrk (Debian: apt-get install wrk).", style="red")
        return 2
    points: list[Point] = []
    with Postgres("-c max_wal_size=4GB") as server:
        _POSTGRES.append(server.pid)
        asyncio.run(migrations.migrate(server.dsn, cockroach=False, timeout_s=10))
        for table in ("empty", "full"):
            console.print(f"[bold]{'an empty table' if table == 'empty' else f'{ROWS_BEFORE:,} rows before'}[/bold]")
            asyncio.run(prepare(server.dsn, table))
            asyncio.run(measure_sql(server.dsn, table, points))
            asyncio.run(prepare(server.dsn, table))
            measure_service(server.dsn, table, points)
    report(points)
    return 0


async def prepare(dsn: str, table: str) -> None:
    """Empties the table, or fills it."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("TRUNCATE readings")
    if table == "full":
        await sql.fill(connection, ROWS_BEFORE)
    await connection.close()


def report(points: list[Point]) -> None:
    """The table on the screen and the file."""
    table = Table("target", "asked", "reached", "", title="Ratios of this run")
    found = verdicts(points)
    for what, asked, reached, enough in found:
        table.add_row(what, asked, reached, "[green]yes[/green]" if enough else "[red]no[/red]")
    console.print(table)
    Path("build").mkdir(exist_ok=True)
    document = {
        "at": datetime.now(UTC).isoformat(),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load_before": os.getloadavg()[2]},
        "points": [asdict(point) for point in points],
        "targets": [dict(zip(("target", "asked", "reached", "met"), row, strict=True)) for row in found],
    }
    Path("build/bench.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    console.print("Written: build/bench.json")


if __name__ == "__main__":
    sys.exit(main())
