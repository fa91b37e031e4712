"""docs/comparison.md and its Russian twin, made of the figures in docs/measured/keda.json.

Each language's words are in its own template; numbers and dates come from the figures, so that no page says what was
not seen. A test compares the pages with what this module would write.
"""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

DOCS = Path(__file__).parents[2] / "docs"
FIGURES = DOCS / "measured" / "keda.json"
LANGUAGES = ("en", "ru")
_DAY = {"en": "%-d %b", "ru": "%d.%m"}
_TWICE = {"en": (" (first)", " (second)"), "ru": (" (первый раз)", " (второй раз)")}


def target(language: str) -> Path:
    return DOCS / ("comparison.md" if language == "en" else f"comparison.{language}.md")


def page(language: str) -> str:
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown of our own figures
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "spans": lambda case, who: _spans(case, who, language),
        "number": lambda value: f"{value:,.0f}" if language == "en" else f"{value:,.0f}".replace(",", " "),
        "seconds": lambda value: f"{abs(value):.0f}",
    }
    rounds = {each["name"]: {c["name"]: c for c in each["contestants"]} for each in figures["rounds"]}
    cases = {case["name"]: case for case in figures["calendar"]}
    text: str = templates.get_template(f"comparison.{language}.md.j2").render(
        rounds=rounds, cases=cases, about=figures["about"], raw=figures["rounds"]
    )
    return text


def _spans(case: dict[str, Any], who: str, language: str) -> str:
    """The stretches with more pods, in the case's local time."""
    zone = ZoneInfo(case["zone"])
    pairs = [[_moment(text, zone, language) for text in span] for span in case[who]["spans"]]
    return "; ".join(f"{since} – {until}" for since, until in pairs)


def _moment(text: str, zone: ZoneInfo, language: str) -> str:
    at = datetime.fromisoformat(text).astimezone(zone)
    day = at.strftime(_DAY[language])
    time = "" if (at.hour, at.minute) == (0, 0) else f" {at:%H:%M}"
    return day + time + _which(at, language)


def _which(at: datetime, language: str) -> str:
    """Of an hour that the clocks show twice: which of the two."""
    first, second = (at.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return _TWICE[language][at.fold] if first > second else ""
