"""The planned minimum as a picture. Needs matplotlib, the extra `prescaler[plot]`, which images leave out."""

from datetime import datetime
from pathlib import Path

from matplotlib import dates
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from prescaler.plan.planner import OPEN, state_at, transitions
from prescaler.plan.schedule import Schedule


def draw(name: str, schedule: Schedule, since: datetime, until: datetime, path: Path) -> None:
    """Steps of the minimum over time, shaded while a window is open, in the first zone's local time."""
    zone = schedule.zones[0]
    changes = [(since, state_at(schedule, since)), *transitions(schedule, since, until)]
    days = [dates.date2num(at.astimezone(zone)) for at in (*(at for at, _ in changes), until)]  # type: ignore[no-untyped-call]  # no types there
    values = [state.replicas for _, state in changes]
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.stairs(values, days, baseline=None, color="#1f5fa8", linewidth=1.8)
    for i, (_, state) in enumerate(changes):
        if state.phase in OPEN:
            axes.axvspan(days[i], days[i + 1], color="#f2b84b", alpha=0.35, linewidth=0, zorder=0)
    axes.axhline(schedule.baseline, color="#888888", linewidth=0.8, linestyle=":")
    axes.set_ylim(0, max([*values, schedule.baseline]) * 1.15)
    axes.set_xlim(days[0], days[-1])
    locator = dates.AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]  # no types there
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]  # no types there
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("minReplicas")
    axes.set_title(f"{name}: planned minimum, {zone.key} time; shaded while a window is open", loc="left", fontsize=11)
    axes.grid(visible=True, axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
