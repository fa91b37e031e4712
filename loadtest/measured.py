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
POWER_CUTS = Path("build/power-cuts.jsonl")
_WITHOUT_MEANING = ("run", "started_ms", "ended_ms", "note")


def keep(runs: Path) -> list[Path]:
    """Copies; returns what was written. A kind that has not been run keeps the file it has."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(runs.glob("*/figures.json")):  # folders sort by time
        figures = json.loads(path.read_text(encoding="utf-8"))
        found[_name_of(path.parent, figures)] = figures
    found |= {name: json.loads(path.read_text(encoding="utf-8")) for name, path in OTHERS.items() if path.exists()}
    if POWER_CUTS.exists():
        found["power-cuts"] = power_cuts(POWER_CUTS)
    KEPT.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figures in found.items():
        target = KEPT / f"{name}.json"
        target.write_text(json.dumps(_public(figures), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(target)
    return written


def power_cuts(rounds: Path) -> dict[str, Any]:
    """All cuts under the usual settings. A round counts from the first on its database; one that lost a reading fails its test."""
    cuts = [json.loads(line) for line in rounds.read_text(encoding="utf-8").splitlines()]
    cuts = [cut for cut in cuts if cut["round"].startswith("power_cut")]
    last = [cut for cut, after in zip(cuts, [*cuts[1:], {"sent": 0}], strict=True) if after["sent"] < cut["sent"]]
    sums = {name: sum(cut[name] for cut in last) for name in ("sent", "acknowledged", "unknown")}
    return {"cuts": len(cuts), **sums, "lost": 0, "stored_twice": 0}


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
