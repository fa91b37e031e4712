"""The page a tester opens: one HTML file with everything in it, and the same pictures as PNG beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtest import charts
from loadtest.evidence import Evidence
from loadtest.ledger import KINDS

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
VERDICT_ROWS = [
    ("sent", "Readings sent", ""),
    ("acknowledged", "Acknowledged", "answered 201 or 200: we promised that it is stored"),
    (
        "flagged",
        "… of them stored with a flag",
        "stored with a mark for somebody to check: an unknown device, a jump, a late date",
    ),
    ("refused", "Refused", "answered 4xx: not stored, will not be by repeating it"),
    ("shed", "Shed", "answered 503 or 429 to the last: not stored, come again"),
    ("failed", "Failed", "no answer or a server error: the client does not know"),
    ("lost", "Lost", "acknowledged, and not in the database"),
    ("duplicated", "Duplicated", "in the database more than once"),
    ("stored_though_refused", "Stored though refused", "refused, and in the database all the same"),
    (
        "stored_unacknowledged",
        "Stored, answer unknown",
        "in the database, though the client got no answer: allowed, a retry settles it",
    ),
]
FAULTS = {"lost", "duplicated", "stored_though_refused", "failed"}


def write(folder: Path) -> Path:
    """Renders `folder`'s run into `report.html` and PNGs; works with whatever files are there."""
    run = Evidence(folder)
    drawings = [("overview", charts.save(charts.overview(run), folder / "overview.png"))]
    for panel in charts.panels_of(run):
        name = panel[1].__name__
        charts.save(charts.single(run, panel), folder / f"{name}.png")
    page = TEMPLATES.get_template("report.html.j2").render(
        run=run, judgement=run.judgement, drawings=drawings, verdict=_verdict(run), figures=_figures(run),
        pictures=sorted(path.name for path in folder.glob("*.png")),
    )  # fmt: skip
    target = folder / "report.html"
    target.write_text(page)
    outcome, why = run.judgement
    numbers = {
        "title": run.headline,
        "outcome": outcome,
        "why": why,
        "verdict": run.verdict,
        "figures": dict(_figures(run)),
    }
    _write_figures(folder, {**numbers, "about": run.about})
    return target


def write_comparison(
    folder: Path, title: str, rows: list[dict[str, Any]], drawing: str, columns: list[tuple[str, str]], notes: list[str]
) -> Path:
    """Several runs side by side: a picture and a table, each row linked to its own report."""
    page = TEMPLATES.get_template("comparison.html.j2").render(
        title=title, rows=rows, drawing=drawing, columns=columns, notes=notes
    )
    target = folder / "report.html"
    target.write_text(page)
    _write_figures(folder, {"title": title, "notes": notes, "rows": rows})
    return target


def _write_figures(folder: Path, figures: dict[str, Any]) -> None:
    """The report's numbers for programs, and for the documents that quote them."""
    (folder / "figures.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _verdict(run: Evidence) -> list[dict[str, Any]]:
    rows = []
    for key, name, meaning in VERDICT_ROWS:
        value = run.verdict.get(key)
        state = "" if key not in FAULTS or value is None else ("bad" if value else "good")
        rows.append(
            {
                "name": name,
                "value": "not counted" if value is None else f"{value:,}",
                "meaning": meaning,
                "state": state,
            }
        )
    return rows


def _figures(run: Evidence) -> list[tuple[str, str]]:
    """The numbers behind the pictures."""
    table = run.seconds
    if table.empty:
        return []
    writes = run.ledger.writes
    took = writes["took_ms"][writes["status"].isin((200, 201))]
    figures = [
        ("Requests", ", ".join(f"{table[kind].sum():,} {kind}" for kind in KINDS if table[kind].any())),
        (
            "Readings stored a second",
            f"{table['readings'].mean():,.0f} mean, {table['readings'].max():,} in the best second",
        ),
    ]
    if len(took):
        p50, p95, p99 = took.quantile([0.5, 0.95, 0.99])
        figures.append(
            (
                "Time until acknowledged",
                f"median {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, slowest {took.max():,.0f} ms",
            )
        )
    shed = writes["took_ms"][writes["status"].isin((429, 503))]
    if len(shed):
        figures.append(("Time until shed", f"median {shed.median():.1f} ms, p99 {shed.quantile(0.99):.1f} ms"))
    if run.goodput is not None:
        figures.append(("Stored during the spike", f"{run.goodput:.0%} of what was stored at the peak before it"))
    if run.has("queue_rows"):
        figures.append(("Longest queue seen", f"{run.series('queue_rows')[1].max():,.0f} readings"))
    if run.has("commit_ms"):
        figures.append(
            (
                "Commit",
                f"mean {run.series('commit_ms')[1].mean():.1f} ms, {run.series('rows_a_commit')[1].mean():.1f} readings each",
            )
        )
    if run.has("rss_mib"):
        figures.append(("Memory", f"{run.series('rss_mib')[1].max():.0f} MiB at most"))
    if run.has("ready"):
        ready = run.series("ready")[1]
        figures.append(
            ("Pods Ready", f"{ready[0]:.0f} at first, {ready.max():.0f} at most, {ready[-1]:.0f} at the end")
        )
    figures.append(("Dropped by the generator", "not known" if run.dropped is None else f"{run.dropped:,}"))
    return figures
