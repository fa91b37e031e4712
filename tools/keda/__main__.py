"""`make compare-keda`: measures, draws and writes docs/comparison. Parts can be asked for by name."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tools.cluster.binaries import KEDA, KUBERNETES
from tools.keda import calendar, page, picture, race
from tools.keda.contestants import BASELINE, LEAD, START_S, WANTED

FIGURES = Path("docs/measured/keda.json")
ROUNDS = {each.name: each for each in race.ROUNDS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="compare-keda", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], "calendar", *ROUNDS, "page"], help="default: everything")
    asked = parser.parse_args().parts or ["calendar", *ROUNDS, "page"]
    figures: dict[str, Any] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"rounds": [], "calendar": []}
    figures |= {"title": "Beside KEDA's cron scaler", "about": _about()}
    if "calendar" in asked:
        figures["calendar"] = calendar.compare()
    played = {each["name"]: each for each in race.run(tuple(ROUNDS[name] for name in asked if name in ROUNDS))}
    known = {each["name"]: each for each in figures["rounds"]} | played
    figures["rounds"] = [known[name] for name in ROUNDS if name in known]
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    if "page" in asked:
        for language in page.LANGUAGES:
            picture.draw(figures, language)
            page.target(language).write_text(page.page(language))


def _about() -> dict[str, Any]:
    return {
        "keda": KEDA,
        "kubernetes": KUBERNETES,
        "pods": {"baseline": BASELINE, "wanted": WANTED, "start_s": START_S},
        "lead_s": LEAD.seconds,
        "window_s": race.WINDOW.seconds,
        "watched_s": [-(LEAD + race.QUIET).total_seconds(), (race.WINDOW + race.AFTER).total_seconds()],
        "cores": psutil.cpu_count(),
    }


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, TimeoutError, subprocess.SubprocessError, OSError) as error:
        sys.exit(f"compare-keda: {error}")
