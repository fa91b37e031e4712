"""`make bench-compare BASE=commit`: this checkout against another commit, in turn on one quiet machine.

A machine's speed drifts by more than most changes cost, so the two are measured in pairs, A B, B A, …, and what is compared
is the ratio within a pair. With six pairs the smallest and the largest ratio enclose the true median with a confidence of
97 % (each ratio is as likely above the median as below it: 1 - 2 · 0.5⁶), so no distribution has to be assumed.

Each side has a database of its own, migrated by its own program, on one PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from rich.table import Table

from tools.bench import servers
from tools.bench.load import Point, console, wrk
from tools.local.postgres import Postgres
from tools.local.service import ENERGY

CLIENTS = (1, 4, 32, 256)
PAIRS = int(os.environ.get("BENCH_PAIRS", "6"))
PAIR_SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
PATHS = ("/v1/readings", "/v2/values")
NOISY_SPREAD = 1.25
"""Fastest over slowest of the base's own points: beyond it the machine says more than the code."""
KEY = "bench.0123456789abcdef0123456789abcdef"
QUIET = {"ENERGY_AUTH": "keys", "ENERGY_LOG_LEVEL": "ERROR", "ENERGY_QUEUE_AGE_MAX_S": "10"}


@dataclass(frozen=True, slots=True)
class Ratio:
    """This checkout over the base: the median of the pairs, and their range."""

    what: str
    here: float
    base: float
    median: float
    least: float
    most: float
    spread: float

    @property
    def verdict(self) -> str:
        """In words; more is better where the figure is a rate."""
        if self.spread > NOISY_SPREAD and self.least <= 1 <= self.most:
            return "too noisy to tell"
        return "no difference seen" if self.least <= 1 <= self.most else "more" if self.median > 1 else "less"


def ratio_of(what: str, here: list[float], base: list[float]) -> Ratio:
    """The ratio of two lists of measurements that were taken in pairs."""
    ratios = [a / b for a, b in zip(here, base, strict=True)]
    return Ratio(
        what,
        statistics.median(here),
        statistics.median(base),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        max(base) / min(base),
    )


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The `energy` program of another commit, in a worktree and environment of its own."""
    sha = subprocess.run(
        ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    folder = Path("build/compare") / sha[:12]
    if not (folder / ".venv/ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["git", "worktree", "prune"], check=True)
        subprocess.run(["git", "worktree", "add", "--force", "--quiet", "--detach", folder, sha], check=True)
        subprocess.run(["make", "--no-print-directory", "-C", folder, "setup"], check=True)
    yield (folder / ".venv/bin/energy").absolute()


async def _create(dsn: str, name: str) -> str:
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return dsn.replace("/postgres?", f"/{name}?")


def started(stack: ExitStack, postgres: Postgres, name: str, program: Path) -> servers.Server:
    """One side: its database, its schema, its key, its process."""
    dsn = asyncio.run(_create(postgres.dsn, name))
    environment = {**os.environ, "ENERGY_DATABASE_URL": dsn, "ENERGY_BOOTSTRAP_ADMIN_KEY": KEY}
    subprocess.run([program, "migrate"], env=environment, check=True, capture_output=True)
    return stack.enter_context(servers.service(dsn, QUIET, program))


def pairs(here: servers.Server, base: servers.Server, path: str, clients: int, backend: int) -> Iterator[Ratio]:
    """All figures of one path at one number of clients."""
    points: dict[str, list[Point]] = {"here": [], "base": []}
    for number in range(PAIRS):
        order = [("here", here), ("base", base)]
        for name, server in order if number % 2 else reversed(order):
            key = path == "/v1/readings"
            points[name].append(
                wrk(
                    f"{name} {path}",
                    "",
                    server,
                    path,
                    clients,
                    postgres=[backend],
                    token=KEY,
                    key=key,
                    seconds=PAIR_SECONDS,
                )
            )
    for figure, words in {
        "rate": "committed/s",
        "service_cpu_us": "service µs",
        "postgres_cpu_us": "PostgreSQL µs",
    }.items():
        values = {name: [float(getattr(point, figure)) for point in side] for name, side in points.items()}
        yield ratio_of(f"{path}, c={clients}, {words}", values["here"], values["base"])


def main() -> int:
    """Exit code 0 whatever the figures are: they are for reading."""
    if shutil.which("wrk") is None:
        console.print("bench: needs wrk (Debian: apt-get install wrk).", style="red")
        return 2
    commit = os.environ.get("BASE") or "HEAD~1"
    ratios: list[Ratio] = []
    with ExitStack() as stack:
        program = stack.enter_context(checkout(commit))
        postgres = stack.enter_context(Postgres("-c max_wal_size=4GB"))
        here = started(stack, postgres, "here", ENERGY)
        base = started(stack, postgres, "base", program)
        for path in PATHS:
            for clients in CLIENTS:
                ratios.extend(pairs(here, base, path, clients, postgres.pid))
    report(commit, ratios)
    return 0


def report(commit: str, ratios: list[Ratio]) -> None:
    """The table on the screen and the file."""
    table = Table(
        "figure",
        "here",
        commit,
        "ratio",
        "range of the pairs",
        "",
        title=f"This checkout against {commit}, {PAIRS} pairs",
    )
    for r in ratios:
        table.add_row(
            r.what, f"{r.here:,.0f}", f"{r.base:,.0f}", f"{r.median:.2f}", f"{r.least:.2f}-{r.most:.2f}", r.verdict
        )
    console.print(table)
    document = [{**{n: getattr(r, n) for n in Ratio.__slots__}, "verdict": r.verdict} for r in ratios]
    Path("build").mkdir(exist_ok=True)
    Path("build/bench-compare.json").write_text(
        json.dumps({"base": commit, "pairs": PAIRS, "ratios": document}, indent=1) + "\n"
    )
    console.print("Written: build/bench-compare.json")


if __name__ == "__main__":
    sys.exit(main())
