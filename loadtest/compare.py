"""Several runs side by side: the task's four tests, the write strategies and databases, and what more replicas buy.

Each cell is a run of its own with its own fresh instance, so that one cannot spoil the next; the table and the picture
are made from their folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest import charts, ledger, report, runner, service
from loadtest.evidence import Evidence
from loadtest.runner import Target, console
from loadtest.settings import setting

STRATEGIES = {"parallel": ("parallel", "v1"), "sequential": ("sequential", "v2"), "group": ("group", "v1")}
TASK_TESTS = {
    1: (200, "parallel", "v1"),
    2: (300, "sequential", "v2"),
    3: (1000, "sequential", "v2"),
    4: (1000, "parallel", "v1"),
}
BEYOND = 3000
"""Requests in a burst of one more test: three times what the task asks of five replicas, against one."""
DATABASE_SCHEMES = ("postgres://", "postgresql://", "cockroachdb://")


@dataclass(frozen=True, slots=True)
class Cell:
    """One run: what to start (or where to send), and what to send."""

    label: str
    scenario: str
    settings: dict[str, str]
    strategy: str = "group"
    replicas: int = 1
    database_url: str = ""
    base_url: str = ""


def play(cells: Iterable[Cell], folder: Path) -> list[dict[str, Any]]:
    """Runs the cells one after the other."""
    return [_play(cell, folder, n) for n, cell in enumerate(cells)]


def _play(cell: Cell, folder: Path, number: int) -> dict[str, Any]:
    console.rule(f"[bold]{cell.label}")
    own = folder / f"{number:02d}"
    own.mkdir(parents=True)
    if cell.base_url:
        runner.run(cell.scenario, Target((cell.base_url,), cell.label), own, cell.settings)
    else:
        with service.instance(cell.replicas, cell.strategy, own, cell.database_url) as there:
            facts = {"Replicas": str(cell.replicas), "Write strategy": cell.strategy}
            runner.run(
                cell.scenario, Target(there.base_urls, cell.label, there.database_url, facts=facts), own, cell.settings
            )
    report.write(own)
    return row_of(cell.label, own)


def row_of(label: str, folder: Path) -> dict[str, Any]:
    """The figures of one cell."""
    run = Evidence(folder)
    table, writes = run.seconds, run.ledger.writes
    ended = writes["asked_ms"] + writes["took_ms"]
    took = writes["took_ms"][writes["status"].isin(ledger.ACKNOWLEDGED)]
    good = writes["readings"][writes["status"] == 201].sum()  # noqa: PLR2004 - HTTP
    span_s = (ended.max() - writes["asked_ms"].min()) / 1000 if len(writes) else 0
    lost = run.verdict.get("lost")
    return {
        "label": label,
        "answers": {kind: int(table[kind].sum()) for kind in ledger.KINDS},
        "tail_s": float(max(0.0, ended.max() - writes["asked_ms"].max() - 1000) / 1000) if len(writes) else 0.0,
        "p99": f"{took.quantile(0.99):,.0f} ms" if len(took) else "–",
        "readings_per_s": float(good / span_s) if span_s else 0.0,
        "lost": "not counted" if lost is None else f"{lost:,}",
        "duplicated": "not counted" if lost is None else f"{run.verdict['duplicated']:,}",
        "report": f"{folder.name}/report.html",
    }


def bursts(folder: Path, title: str, cells: Sequence[Cell], note: str) -> Path:
    """Plays burst tests and reports them as the task does: how many 201, how many not, how long the wait."""
    rows = play(cells, folder)
    for row in rows:
        row |= {kind: f"{row['answers'][kind]:,}" for kind in ledger.KINDS}
        row["tail"] = f"{row['tail_s']:.2f} s"
    columns = [
        ("label", "Test"), ("acknowledged", "201 Created"), ("shed", "503/429"), ("failed", "Error or 500"), ("tail", "Wait after the end"),
        ("p99", "p99"), ("lost", "Lost"), ("duplicated", "Duplicated"),
    ]  # fmt: skip
    drawing = charts.save(charts.comparison(rows), folder / "comparison.png")
    return report.write_comparison(folder, title, rows, drawing, columns, [note, machine(folder)])


def seed_tests(folder: Path) -> Path:
    """The task's tests 1 to 4, each against one replica and against five, and one more."""
    cells = [
        Cell(
            f"Test {n}: {rate}/s {strategy}, {replicas} replica{'s' * (replicas > 1)}",
            "seed-tests",
            {"LOAD_TEST": str(n)},
            strategy,
            replicas,
        )
        for n, (rate, strategy, _) in TASK_TESTS.items()
        for replicas in (1, 5)
    ]
    cells.append(Cell(f"Beyond: {BEYOND}/s group, 1 replica", "seed-tests", {"LOAD_BURST": str(BEYOND)}))
    note = "Bursts of N requests at the start of each of five seconds, as in the task's own test program."
    return bursts(folder, "The task's four tests", cells, note)


def strategies(folder: Path) -> Path:
    """The write strategies on every database, and any other server, under the load of the task's test 4."""
    cells = []
    databases, servers = columns_of(setting("LOAD_COMPARE"))
    for database, url in {"PostgreSQL": setting("LOAD_DATABASE_URL"), **databases}.items():
        for name, (strategy, api) in STRATEGIES.items():
            cells.append(
                Cell(f"{name} on {database}", "seed-tests", {"LOAD_BURST_API": api}, strategy, database_url=url)
            )
    for name, url in servers.items():
        cells.append(Cell(f"{name} /v1", "seed-tests", {"LOAD_BURST_API": "v1"}, base_url=url))
        cells.append(Cell(f"{name} /v2", "seed-tests", {"LOAD_BURST_API": "v2"}, base_url=url))
    note = f"{setting('LOAD_BURST')} requests at the start of each of {setting('LOAD_BURST_SECONDS')} seconds, one replica each."
    return bursts(folder, "Write strategies and databases side by side", cells, note)


def columns_of(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """`NAME=URL` pairs into databases and servers."""
    databases: dict[str, str] = {}
    servers: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, url = pair.partition("=")
        if not equals or "://" not in url:
            raise ValueError(f"LOAD_COMPARE: {pair!r} is not NAME=URL")
        (databases if url.startswith(DATABASE_SCHEMES) else servers)[name] = url
    return databases, servers


def cost_of_scale(folder: Path) -> Path:
    """Committed readings a second against replicas, and against the size of batches."""
    seconds = {"LOAD_DURATION_S": "10"}
    singles = {
        n: Cell(f"{n} replica{'s' * (n > 1)}, single readings", "capacity", seconds, replicas=n) for n in (1, 2, 4)
    }
    batches = {
        n: Cell(f"batches of {n:,}", "batch", {**seconds, "LOAD_BATCH_ROWS": str(n)})
        for n in (1, 10, 100, 1_000, 10_000)
    }
    rows = [
        {**row, "group": "replicas", "x": n}
        for n, row in zip(singles, play(singles.values(), folder / "replicas"), strict=True)
    ]
    rows += [
        {**row, "group": "batch", "x": f"{n:,}"}
        for n, row in zip(batches, play(batches.values(), folder / "batches"), strict=True)
    ]
    for row in rows:
        row["rate"] = f"{row['readings_per_s']:,.0f}"
        row["report"] = f"{'replicas' if row['group'] == 'replicas' else 'batches'}/{row['report']}"
    columns = [
        ("label", "Run"),
        ("rate", "Committed a second"),
        ("p99", "p99 of a request"),
        ("lost", "Lost"),
        ("duplicated", "Duplicated"),
    ]
    drawing = charts.save(charts.scale(rows), folder / "scale.png")
    note = "Closed loop. Generator, service and database share the machine, so these are ratios, not ceilings."
    return report.write_comparison(
        folder, "What replicas and batches buy", rows, drawing, columns, [note, machine(folder)]
    )


def machine(folder: Path) -> str:
    """The words about the machine of the first run below `folder`."""
    first = min(folder.rglob("run.json"))
    return str(Evidence(first.parent).about["machine"])
