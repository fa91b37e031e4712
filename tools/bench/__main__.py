"""`make bench`: one run, one machine, one table of ratios against the targets, and build/bench.json.

BENCH_PEER=URL names another server of the task's API, which is measured in turn with ours; BENCH_ROUNDS and BENCH_SECONDS say how
often and how long, BENCH_ROWS how full the full table is.
"""

from __future__ import annotations

import asyncio
import functools
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
from tools.bench.delay import Delay
from tools.bench.load import SECONDS, Point, console, wrk
from tools.bench.probe import Probe
from tools.bench.steady import steady
from tools.bench.targets import PEER_CLIENTS, medians, noise, targets
from tools.local.postgres import Postgres

PEER = os.environ.get("BENCH_PEER", "")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
RATE = 1_000
QUIET = {"ENERGY_AUTH": "off", "ENERGY_LOG_LEVEL": "ERROR", "ENERGY_QUEUE_AGE_MAX_S": "10"}
KEYS = {**QUIET, "ENERGY_AUTH": "keys"}
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
    token = asyncio.run(key_for(dsn))
    whole = functools.partial(wrk, table=table, path="/v1/readings", postgres=_POSTGRES, token=token, key=True)
    bare = functools.partial(wrk, table=table, postgres=_POSTGRES)
    for _ in range(ROUNDS):
        with servers.ceiling() as server:
            points.extend(bare("ceiling", server=server, path="/", concurrency=c) for c in (32, 256))
        with servers.service(dsn, KEYS) as server:
            points.extend(whole("whole path", server=server, concurrency=c) for c in (1, 4, 8, 32, 256))
    with servers.ceiling(processes=2) as server:
        points.append(bare("ceiling, 2 processes", server=server, path="/", concurrency=256))
    with servers.service(dsn, {**KEYS, "ENERGY_WORKERS": "2"}) as server:
        points.append(whole("whole path, 2 processes", server=server, concurrency=256))
    for strategy in ("group", "parallel", "sequential"):
        with servers.service(dsn, {**QUIET, "ENERGY_WRITE_STRATEGY": strategy}) as server:
            points.extend(bare(strategy, server=server, path="/v1/values", concurrency=c) for c in (32, 256))
    with servers.service(dsn, QUIET) as server:
        points.extend(asyncio.run(batches("batch", table, server, items, 2)) for items in (1_000, 10_000))
    for what, limits in {"overload": {}, "overload, short queue": {"ENERGY_QUEUE_ROWS_MAX": "1000"}}.items():
        with servers.service(dsn, {**QUIET, **limits}) as server:
            points.append(bare(what, server=server, path="/v1/values", concurrency=256))
            with Probe(server.base, "/v1/values") as probe:
                crowd = bare(what, server=server, path="/v1/values", concurrency=2_560)
            points.append(replace(crowd, probe_refused_p99_ms=probe.p99_ms(503), probe_stored_p99_ms=probe.p99_ms(201)))


def measure_peer(dsn: str, peer: servers.Server, points: list[Point]) -> None:
    """The task's two addresses, of ours and of another server in turn, so that both see the same machine."""
    with servers.service(dsn, QUIET) as ours:
        for _ in range(ROUNDS):
            for path in ("/v1/values", "/v2/values"):
                for clients in PEER_CLIENTS:
                    for whose, server in (("ours", ours), ("peer", peer)):
                        points.append(wrk(f"{whose} {path}", "empty", server, path, clients, postgres=_POSTGRES))


def measure_elsewhere(dsn: str, points: list[Point]) -> None:
    """A database that is further away, and the mission's rate over one process and over five that share a port."""
    token = asyncio.run(key_for(dsn))
    for round_trip_ms in (2, 10, 50):
        with Delay(dsn, round_trip_ms / 2000) as far, servers.service(far.dsn, KEYS) as server:
            what = f"whole path, database {round_trip_ms} ms away"
            points.extend(
                wrk(what, "empty", server, "/v1/readings", clients, postgres=_POSTGRES, token=token, key=True)
                for clients in (32, 256)
            )
    for processes in (1, 5):
        with servers.service(dsn, {**KEYS, "ENERGY_WORKERS": str(processes)}) as server:
            what = f"steady, {processes} process{'es' if processes > 1 else ''}"
            points.append(steady(what, "empty", server, RATE, 3 * SECONDS, postgres=_POSTGRES, token=token))


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


def main() -> int:
    """Runs it all; exit code 0 whatever the figures are, because they are for reading."""
    if shutil.which("wrk") is None:
        console.print("bench: needs wrk (Debian: apt-get install wrk).", style="red")
        return 2
    points: list[Point] = []
    with Postgres("-c max_wal_size=4GB") as server:
        _POSTGRES.append(server.pid)
        asyncio.run(migrations.migrate(server.dsn, cockroach=False, timeout_s=10))
        if PEER:
            console.print(f"[bold]beside {PEER}[/bold]")
            measure_peer(server.dsn, servers.elsewhere(PEER), points)
        measure_elsewhere(server.dsn, points)
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
    found = targets(points)
    for line in found:
        table.add_row(line.target, line.asked, line.reached, "[green]yes[/green]" if line.met else "[red]no[/red]")
    console.print(table)
    console.print("Imports and reads beside old months have their own: `make fleet-import`, `make load-report`.")
    noisy = noise(points)
    if noisy:
        console.print(noisy, style="red")
    Path("build").mkdir(exist_ok=True)
    document = {
        "at": datetime.now(UTC).isoformat(),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load_before": os.getloadavg()[2]},
        "rounds": ROUNDS,
        "noise": noisy,
        "points": [asdict(point) for point in medians(points).values()],
        "targets": [asdict(line) for line in found],
    }
    Path("build/bench.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    console.print("Written: build/bench.json")


if __name__ == "__main__":
    sys.exit(main())
