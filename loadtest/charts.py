"""Draws a run: one picture that tells its story, and each of its panels by itself.

Reads only `Evidence`; decides nothing. Colours mean the same everywhere: green is stored, amber is "come again", red is a
fault, blue is capacity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, MaxNLocator

from loadtest.evidence import Evidence

GREEN, LIGHT_GREEN, AMBER, GREY, RED, BLUE, NAVY = (
    "#2a9d6f",
    "#9bd3b8",
    "#f0a830",
    "#8d99ae",
    "#d1383d",
    "#3d7fc4",
    "#1d3557",
)
OUTCOMES = [
    ("acknowledged", "stored (201)", GREEN),
    ("replayed", "stored before (200)", LIGHT_GREEN),
    ("refused", "refused (4xx)", GREY),
    ("shed", "come again (503, 429)", AMBER),
    ("failed", "failed", RED),
]
STYLE: Any = {  # its own type lists every parameter there is

    "font.family": "DejaVu Sans", "font.size": 10, "axes.edgecolor": "#c5ccd6", "axes.labelcolor": "#44505f", "text.color": NAVY,
    "xtick.color": "#5d6877", "ytick.color": "#5d6877", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e8ecf1", "grid.linewidth": 0.8,
    "legend.frameon": False, "legend.fontsize": 9,
    "figure.facecolor": "white", "savefig.facecolor": "white", "svg.fonttype": "path", "svg.hashsalt": "energy",
}  # fmt: skip
MS = FuncFormatter(lambda value, _: f"{value:,.0f} ms" if value >= 1 else f"{value:.1f} ms")
DPI = 160
FEW_POINTS = 12
TAIL_GOOD_S, TAIL_BAD_S = 1, 5

Panel = tuple[str, Callable[[Axes, Evidence], None]]


def panels_of(run: Evidence) -> list[Panel]:
    """The panels there is something to show in, in the order in which one reads them."""
    panels: list[Panel] = [("Requests a second", requests)]
    if run.seconds["p50"].notna().any():
        panels.append(("Time until the answer", latency))
    if run.has("ready") or run.has("hpa_min"):
        panels.insert(0, ("Pods", pods))
    if run.has("queue_rows"):
        panels.append(("Readings waiting in the queue", queue))
    if run.has("commit_ms"):
        panels.append(("Database commit", commits))
    if run.has("rss_mib"):
        panels.append(("Memory of the service", memory))
    return panels


def overview(run: Evidence) -> Figure:
    """All panels over one time axis."""
    panels = panels_of(run)
    heights = [1.6 if draw is requests else 1.0 for _, draw in panels]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(panels),
            1,
            sharex=True,
            figsize=(11, 1.0 + 1.75 * sum(heights)),
            height_ratios=heights,
            layout=ConstrainedLayoutEngine(h_pad=0.09),
            squeeze=False,
        )
        for (title, draw), axis in zip(panels, axes[:, 0], strict=True):
            _draw(axis, title, draw, run)
        _events(axes[0, 0], run, named=True)
        axes[-1, 0].set_xlabel(run.time_label)
        figure.suptitle(run.headline, x=0.012, ha="left", fontsize=14, fontweight="bold")
    return figure


def single(run: Evidence, panel: Panel) -> Figure:
    """One panel by itself, wide enough for a document."""
    title, draw = panel
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(11, 3.6), layout="constrained")
        _draw(axis, title, draw, run)
        _events(axis, run, named=True)
        axis.set_xlabel(run.time_label)
    return figure


def save(figure: Figure, path: Path) -> str:
    """As PNG on disk; as SVG text for the page."""
    figure.savefig(path, dpi=DPI)
    drawing = path.with_suffix(".svg")
    figure.savefig(drawing, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    plt.close(figure)
    text = drawing.read_text()
    drawing.unlink()
    return text[text.index("<svg") :]


def _draw(axis: Axes, title: str, draw: Callable[[Axes, Evidence], None], run: Evidence) -> None:
    draw(axis, run)
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=8)
    axis.set_xlim(0, max(run.length_s, 1))
    axis.xaxis.set_major_locator(
        FixedLocator(run.day_ticks) if run.is_month else MaxNLocator(12, steps=[1, 2, 3, 5, 6, 10])
    )
    axis.xaxis.set_major_formatter(FuncFormatter(run.time_text))
    if not axis.get_ylim()[0] > 0:
        axis.set_ylim(bottom=0)
    handles, _ = axis.get_legend_handles_labels()
    if handles:
        axis.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=len(handles),
            borderaxespad=0.2,
            columnspacing=1.2,
            handlelength=1.2,
        )
    _events(axis, run, named=False)


def _events(axis: Axes, run: Evidence, *, named: bool) -> None:
    edges = [at_s for at_s, what in run.events if what in ("window opens", "window closes")]
    if len(edges) > 1 and not named:
        axis.axvspan(edges[0], edges[-1], color=GREEN, alpha=0.07, linewidth=0)
    for n, (at_s, what) in enumerate(run.events):
        axis.axvline(at_s, color=NAVY, linewidth=0.9, linestyle=(0, (3, 3)), alpha=0.55)
        if named:
            axis.annotate(
                what, (at_s, 1), xycoords=("data", "axes fraction"), xytext=(3, -10 - 11 * (n % 3)), textcoords="offset points",
                fontsize=8, color=NAVY, annotation_clip=False, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
            )  # fmt: skip


def requests(axis: Axes, run: Evidence) -> None:
    """Answers a second, stacked by what they mean; what was offered as a line above."""
    table = run.seconds
    at = table.index.to_numpy() + 0.5
    bottom = np.zeros(len(table))
    for column, label, colour in OUTCOMES:
        if table[column].any():
            axis.bar(at, table[column], width=1.0, bottom=bottom, color=colour, label=label, linewidth=0)
            bottom += table[column].to_numpy()
    if not np.array_equal(bottom, table["offered"]):
        axis.step(at, table["offered"], where="mid", color=NAVY, linewidth=1.1, label="sent")
    if table["reads"].any():
        axis.plot(at, table["reads"], color=BLUE, linewidth=1.2, label="history reads")
    axis.yaxis.set_major_formatter(EngFormatter(sep=""))
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def latency(axis: Axes, run: Evidence) -> None:
    """Percentiles of acknowledged writes, on a logarithmic scale: a tail of a second must not hide the milliseconds."""
    table = run.seconds
    at = table.index.to_numpy() + 0.5
    for column, label, colour, width in (
        ("p99", "p99", RED, 1.4),
        ("p95", "p95", AMBER, 1.4),
        ("p50", "median", GREEN, 1.8),
    ):
        axis.plot(
            at,
            table[column],
            color=colour,
            linewidth=width,
            label=label,
            marker="." if len(table) < FEW_POINTS else None,
        )
    axis.fill_between(at, table["p50"].astype(float), table["p99"].astype(float), color=AMBER, alpha=0.12, linewidth=0)
    axis.set_yscale("log")
    axis.set_ylim(max(float(table["p50"].min()) / 2, 0.1), float(table["p99"].max()) * 2)
    axis.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0, 3.0), numticks=8))
    axis.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    axis.yaxis.set_major_formatter(MS)


def pods(axis: Axes, run: Evidence) -> None:
    """The whole promise of pre-scaling in one panel: the plan, the HPA's minimum, the pods that are Ready."""
    if run.has("ready"):
        at, ready = run.series("ready")
        axis.fill_between(at, ready, step="post", color=BLUE, alpha=0.25, linewidth=0)
        axis.step(at, ready, where="post", color=BLUE, linewidth=2, label="Ready")
    if run.has("hpa_min"):
        axis.step(*run.series("hpa_min"), where="post", color=NAVY, linewidth=1.3, label="HPA minimum")
    if run.has("hpa_desired"):
        axis.step(
            *run.series("hpa_desired"), where="post", color=GREY, linewidth=1.2, linestyle="--", label="HPA target"
        )
    if run.has("planned_min"):
        axis.step(
            *run.series("planned_min"), where="post", color=GREEN, linewidth=1.6, linestyle=":", label="operator's plan"
        )
    axis.set_ylim(0, axis.get_ylim()[1] * 1.12)
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def queue(axis: Axes, run: Evidence) -> None:
    """Rows in all queues together."""
    at, rows = run.series("queue_rows")
    axis.fill_between(at, rows, color=AMBER, alpha=0.35, linewidth=0)
    axis.plot(at, rows, color=AMBER, linewidth=1.4)
    axis.set_ylim(0, max(10.0, float(np.nanmax(rows)) * 1.15))
    axis.yaxis.set_major_formatter(EngFormatter(sep=""))
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def commits(axis: Axes, run: Evidence) -> None:
    """Mean time of a commit, and how many readings one carries."""
    axis.plot(*run.series("commit_ms"), color=BLUE, linewidth=1.5, label="mean time of a commit")
    axis.set_ylim(0, float(np.nanmax(run.series("commit_ms")[1])) * 1.2)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ms"))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    if run.has("rows_a_commit"):
        right = axis.twinx()
        right.plot(*run.series("rows_a_commit"), color=GREEN, linewidth=1.3)
        right.set_ylim(0, float(np.nanmax(run.series("rows_a_commit")[1])) * 1.2)
        right.spines["right"].set_visible(False)
        right.grid(visible=False)
        right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} rows"))
        right.yaxis.set_major_locator(MaxNLocator(4))
        axis.plot([], [], color=GREEN, label="readings in one (right)")


def memory(axis: Axes, run: Evidence) -> None:
    """Resident memory of all processes together."""
    axis.plot(*run.series("rss_mib"), color=NAVY, linewidth=1.4)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} MiB"))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.set_ylim(0, float(np.nanmax(run.series("rss_mib")[1])) * 1.3)


def comparison(rows: Sequence[dict[str, Any]]) -> Figure:
    """Cells of a comparison side by side: what became of the requests, and how long the last answer took."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(11, 1.2 + 0.42 * len(rows)), width_ratios=[1.7, 1], sharey=True, layout="constrained"
        )
        at = np.arange(len(rows))[::-1]
        start = np.zeros(len(rows))
        for column, label, colour in OUTCOMES:
            widths = np.array([row["answers"][column] for row in rows], dtype=float)
            if widths.any():
                left.barh(at, widths, left=start, height=0.66, color=colour, label=label, linewidth=0)
                start += widths
        left.set_yticks(at, [row["label"] for row in rows])
        left.set_title("What became of the requests", loc="left", fontsize=11, fontweight="bold", pad=22)
        left.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, borderaxespad=0.1, handlelength=1.1)
        left.grid(axis="y", visible=False)
        shortest = 0.01
        tails = [max(row["tail_s"], shortest) for row in rows]
        right.barh(
            at,
            tails,
            height=0.66,
            color=[GREEN if tail < TAIL_GOOD_S else AMBER if tail < TAIL_BAD_S else RED for tail in tails],
            linewidth=0,
        )
        for y, tail in zip(at, tails, strict=True):
            right.annotate(
                f"{tail:.2f} s" if tail > shortest else "none",
                (tail, y),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        right.set_xscale("log")
        right.set_xlim(shortest, max(10.0, max(tails) * 4))
        right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
        right.set_title("Wait after the last second", loc="left", fontsize=11, fontweight="bold", pad=22)
        right.grid(axis="y", visible=False)
    return figure


def scale(rows: Sequence[dict[str, Any]]) -> Figure:
    """Committed readings a second against replicas and against batch sizes."""
    groups = [("replicas", "Replicas, single readings", BLUE), ("batch", "Readings in one batch request", GREEN)]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
        for axis, (key, title, colour) in zip(axes, groups, strict=True):
            points = [row for row in rows if row["group"] == key]
            bars = axis.bar(
                [str(row["x"]) for row in points], [row["readings_per_s"] for row in points], color=colour, width=0.6
            )
            axis.bar_label(bars, fmt="{:,.0f}", fontsize=9, padding=2, color=NAVY)
            axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
            axis.yaxis.set_major_formatter(EngFormatter(sep=""))
            axis.set_ylabel("committed readings a second")
            axis.margins(y=0.12)
            axis.grid(axis="x", visible=False)
    return figure
