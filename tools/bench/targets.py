"""The targets of the benchmark: ratios of one run, because absolute figures move from machine to machine.

Pure: from points to lines of a table. A point that was measured several times counts with its median.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

from tools.bench.load import Point
from tools.bench.steady import CONNECTIONS as STEADY_CONNECTIONS

NOISY_SPREAD = 1.25
"""Fastest over slowest of the ceiling's own points: beyond it the machine says more than the code."""
PEER_CLIENTS = (1, 4, 8, 32, 200)

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """A figure of one point, or its ratio to the same figure of another, that has to be at least or at most so much."""

    target: str
    limit: float
    over: Key
    under: Key | None = None
    figure: str = "rate"
    unit: str = ""
    at_most: bool = False


def _peer(path: str, clients: int, least: float) -> Asked:
    over, under = (f"ours {path}", "empty", clients), (f"peer {path}", "empty", clients)
    return Asked(f"{path} / the peer's, c={clients}", least, over, under)


def _of_table(table: str) -> list[Asked]:
    whole = ("whole path", table, 256)
    two = ", 2 processes"
    cpu = [
        Asked(f"PostgreSQL CPU a reading, c={c}", most_us, ("whole path", table, c), None, "postgres_cpu_us", "µs", at_most=True)
        for c, most_us in ((1, 150), (32, 25), (256, 16))
    ]  # fmt: skip
    overload = [
        asked
        for what in ("overload", "overload, short queue")
        for asked in (
            Asked(f"{what}: goodput at 10× load / peak", 0.95, (what, table, 2_560), (what, table, 256)),
            Asked(f"{what}: refused within (p99)", 20, (what, table, 2_560), None, "probe_refused_p99_ms", "ms", at_most=True),
        )
    ]  # fmt: skip
    bare = ("bare unnest, same indexes 1000", table, 1)
    return [
        *cpu,
        Asked("service CPU a reading, c=256", 30, whole, None, "service_cpu_us", "µs", at_most=True),
        Asked("whole path / ceiling, c=256", 0.6, whole, ("ceiling", table, 256)),
        Asked(
            f"whole path / ceiling{two}, c=256", 0.6, (f"whole path{two}", table, 256), (f"ceiling{two}", table, 256)
        ),
        Asked("batch / statement, 10 000 rows", 0.7, ("batch 10000", table, 2), ("statement 10000", table, 1)),
        Asked("statement / bare unnest, same indexes, 1 000 rows", 0.55, ("statement 1000", table, 1), bare),
        *overload,
    ]


_ONE, _FIVE = ("steady, 1 process", "empty", STEADY_CONNECTIONS), ("steady, 5 processes", "empty", STEADY_CONNECTIONS)
ASKED = [
    *(_peer("/v1/values", clients, least) for clients, least in ((1, 1.0), (4, 1.5), (32, 6.0), (200, 10.0))),
    *(_peer("/v2/values", clients, least) for clients, least in ((1, 1.0), (32, 3.0), (200, 5.0))),
    Asked("1000/s, one process: p99", 5, _ONE, None, "p99_ms", "ms", at_most=True),
    Asked("1000/s, five processes: p99", 5, _FIVE, None, "p99_ms", "ms", at_most=True),
    Asked("1000/s: PostgreSQL's CPU, five processes / one", 1.3, _FIVE, _ONE, "postgres_cpu_us", at_most=True),
    *(replace(asked, target=f"{asked.target}, {table}") for table in ("empty", "full") for asked in _of_table(table)),
]


@dataclass(frozen=True, slots=True)
class Target:
    """One line: what was asked, what was reached, and whether that is enough."""

    target: str
    asked: str
    reached: str
    met: bool


def medians(points: Iterable[Point]) -> dict[Key, Point]:
    """One point for each that was measured, every figure the median of its own."""
    repeated: defaultdict[Key, list[Point]] = defaultdict(list)
    for point in points:
        repeated[point.what, point.table, point.concurrency].append(point)
    numbers = [field.name for field in fields(Point) if field.name not in ("what", "table", "concurrency")]
    return {
        key: Point(*key, **{name: statistics.median(getattr(point, name) for point in same) for name in numbers})
        for key, same in repeated.items()
    }


def noise(points: Iterable[Point]) -> str:
    """A warning when the ceiling, which is always the same program, was not always as fast."""
    rates = [point.rate for point in points if point.what == "ceiling" and point.concurrency == 256]
    spread = max(rates) / min(rates) if rates else 1.0
    return f"too noisy to tell: the ceiling itself varied by {spread:.2f}" if spread > NOISY_SPREAD else ""


def targets(points: Iterable[Point]) -> list[Target]:
    """All that there are points for."""
    of = medians(points)
    return [
        _line(asked, of)
        for asked in ASKED
        if asked.over in of and getattr(of[asked.over], asked.figure) and (asked.under is None or asked.under in of)
    ]


def _line(asked: Asked, of: Mapping[Key, Point]) -> Target:
    reached = getattr(of[asked.over], asked.figure)
    if asked.under is not None:
        reached /= getattr(of[asked.under], asked.figure)
    met = reached <= asked.limit if asked.at_most else reached >= asked.limit
    wanted = f"{'≤' if asked.at_most else '≥'} {asked.limit:g} {asked.unit}"
    return Target(asked.target, wanted.strip(), f"{reached:.{1 if asked.unit else 2}f} {asked.unit}".strip(), met)
