"""Keeps the figures that the documents quote: the newest of each kind of run, copied to `docs/measured`.

A figure in a document stands beside the command that made its file; `make measured` brings the files up to date, and a
reader can see from the difference what changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEPT = Path("docs/measured")
OTHERS = {"bench": Path("build/bench.json"), "fleet-import": Path("build/fleet/import.json")}
_WITHOUT_MEANING = ("run", "started_ms", "ended_ms", "note")


def keep(runs: Path) -> list[Path]:
    """Copies; returns what was written. A kind that has not been run keeps the file it has."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(runs.glob("*/figures.json")):  # folders sort by time
        figures = json.loads(path.read_text(encoding="utf-8"))
        found[_name_of(path.parent, figures)] = figures
    found |= {name: json.loads(path.read_text(encoding="utf-8")) for name, path in OTHERS.items() if path.exists()}
    KEPT.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figures in found.items():
        target = KEPT / f"{name}.json"
        target.write_text(json.dumps(_public(figures), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(target)
    return written


def _name_of(folder: Path, figures: dict[str, Any]) -> str:
    kind = folder.name.split("-", 2)[2]
    strategy = figures.get("about", {}).get("facts", {}).get("Write strategy", "group")
    return kind if strategy == "group" else f"{kind}-{strategy}"


def _public(figures: dict[str, Any]) -> dict[str, Any]:
    if "about" not in figures:
        return figures
    about = {name: value for name, value in figures["about"].items() if name not in _WITHOUT_MEANING}
    about["facts"] = {name: value for name, value in about.get("facts", {}).items() if name != "Processes"}
    about["settings"] = {name: value for name, value in about.get("settings", {}).items() if not name.endswith("_FILE")}
    return {**figures, "about": about}
