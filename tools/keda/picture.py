"""The two pictures of docs/comparison: pods Ready around a window's start, and who wants pods when in the calendar.

Reads only the figures. Colours mean the same in both: green is the operator, amber is KEDA.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib import dates
from matplotlib.axes import Axes

IMAGES = Path(__file__).parents[2] / "docs" / "images"
GREEN, LIGHT_GREEN, AMBER, BROWN, NAVY, SAND = "#2a9d6f", "#9bd3b8", "#f0a830", "#b5651d", "#1d3557", "#f7ead0"
DPI = 130
LINES = (  # drawn a little apart, since they often lie on one another
    ("operator", GREEN, "-", 0.0),
    ("operator-scaledobject", LIGHT_GREEN, "-", -0.12),
    ("keda-cron", AMBER, "-", 0.0),
    ("keda-cron-early", BROWN, "--", 0.12),
)
SHOWN = ("25-30-february", "31-5-february", "starts-in-lost-hour", "ends-in-lost-hour", "starts-in-repeated-hour")
WORDS = {
    "en": {
        "day": "%-d %b",
        "undisturbed": "undisturbed",
        "restarted": "scalers killed and started again",
        "away": "scalers away over the start",
        "ready": "pods Ready",
        "seconds": "seconds from the window's start",
        "open": "window open",
        "gone": "no scaler runs",
        "operator": "operator",
        "operator-scaledobject": "operator, on a ScaledObject",
        "keda": "KEDA",
        "keda-cron": "KEDA cron",
        "keda-cron-early": "KEDA cron, early",
        "25-30-february": "25th to 30th, Moscow",
        "31-5-february": "31st to 5th, Moscow",
        "starts-in-lost-hour": "02:30 to 06:00, Berlin, clocks forward on 28 March",
        "ends-in-lost-hour": "22:00 to 02:30, Berlin, clocks forward on 28 March",
        "starts-in-repeated-hour": "02:30 to 06:00, Berlin, clocks back on 31 October",
    },
    "ru": {
        "day": "%d.%m",
        "undisturbed": "без помех",
        "restarted": "убиты и запущены снова",
        "away": "начало окна прошло без них",
        "ready": "подов Ready",
        "seconds": "секунд от начала окна",
        "open": "окно открыто",
        "gone": "никто не управляет",
        "operator": "оператор",
        "operator-scaledobject": "оператор на ScaledObject",
        "keda": "KEDA",
        "keda-cron": "KEDA cron",
        "keda-cron-early": "KEDA cron заранее",
        "25-30-february": "с 25-го по 30-е, Москва",
        "31-5-february": "с 31-го по 5-е, Москва",
        "starts-in-lost-hour": "с 02:30 до 06:00, Берлин, часы вперёд 28 марта",
        "ends-in-lost-hour": "с 22:00 до 02:30, Берлин, часы вперёд 28 марта",
        "starts-in-repeated-hour": "с 02:30 до 06:00, Берлин, часы назад 31 октября",
    },
}
STYLE: Any = {  # its own type lists every parameter there is
    "font.family": "DejaVu Sans", "font.size": 10, "axes.edgecolor": "#c5ccd6", "text.color": NAVY, "axes.labelcolor": "#44505f",
    "xtick.color": "#5d6877", "ytick.color": "#5d6877", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e8ecf1", "legend.frameon": False,
}  # fmt: skip


def draw(figures: dict[str, Any], language: str) -> None:
    """Writes both pictures in one language."""
    with plt.rc_context(STYLE):
        _race(figures, WORDS[language], IMAGES / f"keda-race.{language}.png")
        _calendar(figures, WORDS[language], IMAGES / f"keda-calendar.{language}.png")


def _race(figures: dict[str, Any], words: dict[str, str], path: Path) -> None:
    about, rounds = figures["about"], figures["rounds"]
    figure, panels = plt.subplots(1, len(rounds), figsize=(14, 4.4), sharey=True, layout="constrained")
    for axes, each in zip(panels, rounds, strict=True):
        axes.set_title(words[each["name"]], loc="left", fontsize=11)
        axes.axvspan(0, about["window_s"], color=SAND, zorder=0, label=words["open"])
        if each["gone_s"] is not None:
            axes.axvspan(
                each["gone_s"], each["back_s"], facecolor="none", edgecolor="#8d99ae", hatch="///", label=words["gone"]
            )
        _lines(axes, each, words, about["watched_s"])
        axes.set_xlim(*about["watched_s"])
        axes.set_xlabel(words["seconds"])
    panels[0].set_ylim(0, about["pods"]["wanted"] + 1)
    panels[0].set_ylabel(words["ready"])
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _lines(axes: Axes, each: dict[str, Any], words: dict[str, str], watched_s: list[float]) -> None:
    found = {contestant["name"]: contestant for contestant in each["contestants"]}
    for name, colour, style, apart in LINES:
        steps = found[name]["steps"]
        at = [step[0] for step in steps] + [watched_s[1]]
        ready = [step[2] + apart for step in steps]
        axes.step(at, [*ready, ready[-1]], where="post", color=colour, linestyle=style, linewidth=2, label=words[name])


def _calendar(figures: dict[str, Any], words: dict[str, str], path: Path) -> None:
    cases = {case["name"]: case for case in figures["calendar"]}
    figure, panels = plt.subplots(len(SHOWN), 1, figsize=(14, 1.35 * len(SHOWN)), layout="constrained")
    for axes, name in zip(panels, SHOWN, strict=True):
        case = cases[name]
        zone = ZoneInfo(case["zone"])
        for height, (who, colour) in enumerate((("keda", AMBER), ("operator", GREEN))):
            edges = [[dates.date2num(datetime.fromisoformat(text)) for text in span] for span in case[who]["spans"]]  # type: ignore[no-untyped-call]  # no types there
            axes.broken_barh([(since, until - since) for since, until in edges], (height - 0.35, 0.7), color=colour)
        axes.set_title(words[name], loc="left", fontsize=10)
        axes.set_yticks([0, 1], [words["keda"], words["operator"]])
        axes.set_ylim(-0.6, 1.6)
        axes.set_xlim(*(_local(case[edge], zone) for edge in ("since", "until")))
        locator = dates.AutoDateLocator(tz=zone, minticks=6)  # type: ignore[no-untyped-call]  # no types there
        hours = f"{words['day']} %H:%M" if "hour" in name else words["day"]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.DateFormatter(hours, tz=zone))  # type: ignore[no-untyped-call]  # no types there
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _local(day: str, zone: ZoneInfo) -> float:
    number: float = dates.date2num(datetime.fromisoformat(day).replace(tzinfo=zone))  # type: ignore[no-untyped-call]  # no types there
    return number
