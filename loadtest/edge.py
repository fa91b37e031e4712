"""What a million households cost the edge: a connection of its own for each reading, with and without TLS.

The service speaks plain HTTP behind whatever ends TLS. Here that is a small process on the same machine (`terminator.py`), so
the rows differ in one thing each, and the CPU of both processes is counted per request. A proxy written for the purpose is
cheaper than this one: its handshake is the same, its forwarding is not.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from loadtest import charts, compare, report, runner, service
from loadtest.runner import Target, console
from tools.local.waiting import until

SETTINGS = {"LOAD_RATE": "200", "LOAD_DURATION_S": "20", "LOAD_TLS_INSECURE": "true", "LOAD_P99_MS": "1000"}
START_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    """How the readings come in."""

    label: str
    tls: bool
    reuse: bool


WAYS = (
    Way("HTTP, connections reused", tls=False, reuse=True),
    Way("HTTP, a connection for each reading", tls=False, reuse=False),
    Way("HTTPS, connections reused", tls=True, reuse=True),
    Way("HTTPS, a connection for each reading", tls=True, reuse=False),
)


@contextmanager
def terminator(behind: str) -> Iterator[tuple[str, int]]:
    """A process that ends TLS in front of `behind`: its address and its pid."""
    host, _, port = behind.removeprefix("http://").partition(":")
    command = [sys.executable, "-m", "loadtest.terminator", host, port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            yield f"https://127.0.0.1:{said.strip()}", process.pid
        finally:
            process.terminate()
            until(lambda: process.poll() is not None, "the end of the terminator", START_TIMEOUT_S)


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def measure(folder: Path) -> Path:
    """Plays every way; the report has them side by side."""
    rows = [_play(way, folder / f"{number:02d}") for number, way in enumerate(WAYS)]
    columns = [
        ("label", "Way in"), ("rate", "Readings a second"), ("p99", "p99"), ("edge", "CPU of the edge, µs each"),
        ("service", "CPU of the service, µs each"), ("lost", "Lost"),
    ]  # fmt: skip
    note = "Full handshakes, TLS 1.3, ECDSA P-256; the edge is a process in Python."
    drawing = charts.save(charts.comparison(rows), folder / "comparison.png")
    title = "Connections and TLS"
    return report.write_comparison(folder, title, rows, drawing, columns, [note, compare.machine(folder)])


def _play(way: Way, folder: Path) -> dict[str, Any]:
    console.rule(f"[bold]{way.label}")
    folder.mkdir(parents=True)
    with service.instance(1, "group", folder) as own, terminator(own.base_urls[0]) as (secure, edge_pid):
        pids = {"edge": edge_pid, "service": own.pids[0]}
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        base = secure if way.tls else own.base_urls[0]
        settings = SETTINGS | {"LOAD_REUSE_CONNECTIONS": str(way.reuse).lower()}
        runner.run("peak", Target((base,), way.label, own.database_url), folder, settings)
        used = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
    report.write(folder)
    row = compare.row_of(way.label, folder)
    requests = max(1, sum(row["answers"].values()))
    row |= {kind: f"{count:,}" for kind, count in row["answers"].items()}
    row |= {name: f"{seconds / requests * 1e6:,.0f}" for name, seconds in used.items()}
    return row | {"rate": f"{row['readings_per_s']:,.0f}", "tail": f"{row['tail_s']:.2f} s"}
