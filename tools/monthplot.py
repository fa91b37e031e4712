"""The month as a picture: the pods that the operator asks for, above the readings that the load lab sends.

Nothing in it is typed: the pods are `prescaler plan` of the chart's own BillingWindow, the load is the curve of
loadtest/k6/month.js at the task's peak. `make drawings` writes it in both languages.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib import dates

from prescaler.plan.planner import OPEN, state_at, transitions
from tools.quotes import MONTH, READINGS_A_POD, ROOT, YEAR, planned

IMAGES = ROOT / "docs" / "images"
PEAK = 1_000
BLUE, GREEN, SAND = "#2257a0", "#23733f", "#f2b84b"
WORDS = {
    "en": {
        "title": "A month: capacity is there before the load",
        "pods": "pods asked for",
        "load": "readings a second",
        "one": "what one pod is planned for",
        "days": "days of December, Moscow time; shaded: the window is open",
    },
    "ru": {
        "title": "Месяц: поды готовы раньше нагрузки",
        "pods": "запрошено подов",
        "load": "показаний в секунду",
        "one": "на столько рассчитан один под",
        "days": "дни декабря, время московское; закрашено: окно приёма открыто",
    },
}


def shares() -> tuple[dict[int, float], float, list[float]]:
    """From month.js: share of the busiest evening by day, of a quiet day, and of a day's quarters."""
    source = (ROOT / "loadtest/k6/month.js").read_text()
    tables = [re.search(rf"const {name} = \{{ (.*?) \}}", source) for name in ("WINDOW", "LATE")]
    days = {
        int(day): float(share) for table in tables if table for day, share in re.findall(r"(\d+): ([\d.]+)", table[1])
    }
    quiet, hours = re.search(r"const QUIET = ([\d.]+)", source), re.search(r"const HOURS = (\[.*?\])", source)
    if quiet is None or hours is None:
        raise ValueError("month.js says its curve in another way now")
    return days, float(quiet[1]), json.loads(hours[1])


def load_curve(zone: object) -> tuple[list[datetime], list[float]]:
    """Half of each quarter of a day to get to its rate, half to stay there, as the script does."""
    days, quiet, hours = shares()
    times, rates = [], []
    for day in range(1, 32):
        for quarter, hour in enumerate(hours):
            start = datetime(YEAR, MONTH, day, tzinfo=zone) + timedelta(hours=6 * quarter)  # type: ignore[arg-type]  # a ZoneInfo
            times += [start + timedelta(hours=3), start + timedelta(hours=6)]
            rates += [PEAK * days.get(day, quiet) * hour] * 2
    return times, rates


def number(at: datetime) -> float:
    """A time as matplotlib has it."""
    return float(dates.date2num(at))  # type: ignore[no-untyped-call]  # no types there


def draw(language: str) -> Path:
    """One picture; the same bytes from the same sources."""
    words, schedule = WORDS[language], planned()
    zone = schedule.zones[0]
    since, until = (datetime(YEAR, MONTH, day, tzinfo=zone).astimezone(UTC) for day in (13, 29))
    changes = [(since, state_at(schedule, since)), *transitions(schedule, since, until)]
    ends = [*(at for at, _ in changes[1:]), until]
    with mpl.rc_context({"svg.hashsalt": "energy", "font.size": 13}):
        figure, (above, below) = plt.subplots(2, 1, figsize=(8, 6.4), sharex=True, layout="constrained")
        values = [state.replicas for _, state in changes]
        above.stairs(values, [number(at) for at in (since, *ends)], baseline=None, color=BLUE, linewidth=2)
        for (at, state), end in zip(changes, ends, strict=True):
            for axes in (above, below) if state.phase in OPEN else ():
                axes.axvspan(number(at), number(end), color=SAND, alpha=0.25, linewidth=0)
        below.plot(*load_curve(zone), color=GREEN, linewidth=2)
        below.axhline(READINGS_A_POD, color="#777777", linestyle=":")
        below.annotate(words["one"], (0.02, READINGS_A_POD * 1.03), xycoords=("axes fraction", "data"), color="#555555")
        above.set_ylim(0, max(values) * 1.15)
        below.set_ylim(0, PEAK * 1.25)
        below.set_xlim(since, until)
        below.xaxis.set_major_locator(dates.DayLocator(interval=2, tz=zone))  # type: ignore[no-untyped-call]  # no types there
        below.xaxis.set_major_formatter(dates.DateFormatter("%-d", tz=zone))  # type: ignore[no-untyped-call]  # no types there
        above.set_title(words["title"], loc="left", fontweight="bold")
        above.set_ylabel(words["pods"])
        below.set_ylabel(words["load"])
        below.set_xlabel(words["days"])
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(visible=True, axis="y", alpha=0.25)
        path = IMAGES / f"month-capacity.{language}.svg"
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
    return path


if __name__ == "__main__":
    for language in WORDS:
        draw(language)
