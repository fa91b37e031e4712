"""One measured point over HTTP: wrk against a server, with the processor time that the server and PostgreSQL spent on it.

Called by the benchmark (`__main__.py`) and by the comparison of two commits (`compare.py`). Knows no target and no verdict.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from tools.bench import servers

SECONDS = float(os.environ.get("BENCH_SECONDS", "6"))
LUA = Path(__file__).with_name("post.lua")
console = Console(width=160)


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement. `rate`: committed readings, answers or rows a second; `probe_*`: as one more, calm client saw it."""

    what: str
    table: str
    concurrency: int
    rate: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    refused: int = 0
    rss_mib: float = 0.0
    probe_refused_p99_ms: float = 0.0
    probe_stored_p99_ms: float = 0.0
    service_cpu_us: float = 0.0  # processor time for one request, of the service's process
    postgres_cpu_us: float = 0.0  # the same of the database


def wrk(
    what: str,
    table: str,
    server: servers.Server,
    path: str,
    concurrency: int,
    *,
    postgres: Iterable[int],
    token: str = "",
    key: bool = False,
    seconds: float = SECONDS,
) -> Point:
    """One point with wrk; answers other than 200 and 201 are counted as refused. `postgres`: its processes, for their time."""
    environment = {
        **os.environ,
        "BENCH_PATH": path,
        **({"BENCH_TOKEN": token} if token else {}),
        **({"BENCH_KEY": "1"} if key else {}),
    }
    command = [
        "wrk",
        f"-t{min(2, concurrency)}",
        f"-c{concurrency}",
        f"-d{seconds:g}s",
        "--timeout",
        "30s",
        "-s",
        str(LUA),
        server.base,
    ]
    before, postgres_before = server.cpu_s(), servers.cpu_s(postgres)
    started = time.monotonic()
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    spent = max(time.monotonic() - started, seconds)
    statuses = {int(s): 0 for s, _ in re.findall(r"(\d+)=(\d+)", output)}
    for status, count in re.findall(r"(\d+)=(\d+)", output):
        statuses[int(status)] += int(count)
    good = statuses.get(201, 0) + statuses.get(200, 0)
    latency = re.search(r"LATENCY ([\d.]+) ([\d.]+) ([\d.]+)", output)
    p50, p99, most = (float(x) for x in latency.groups()) if latency else (0.0, 0.0, 0.0)
    refused = sum(statuses.values()) - good
    rss = 0.0 if what.startswith(("ceiling", "peer")) else servers.rss_mib(server.base)
    a_request = 1e6 / (good + refused)
    cpu_us = (server.cpu_s() - before) * a_request
    postgres_us = (servers.cpu_s(postgres) - postgres_before) * a_request
    point = Point(what, table, concurrency, good / spent, p50, p99, most, refused, rss)
    point = replace(point, service_cpu_us=cpu_us, postgres_cpu_us=postgres_us)
    console.print(
        f"  {what:<28} {table:<6} c={concurrency:<5} {point.rate:>9,.0f}/s  p99 {p99:7.1f} ms  refused {refused:<6}"
        f" CPU a request: service {cpu_us:.0f} µs, PostgreSQL {postgres_us:.0f} µs"
    )
    return point
