"""The page of measured figures, made by `make reference` from the files in docs/measured, with the command behind each.

It exists so that no figure is copied by hand: another page quotes this one, and a new measurement shows here as a difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMANDS = {
    "bench": "make bench",
    "peak": "make load",
    "spike": "make load-spike",
    "spike-sequential": "LOAD_STRATEGY=sequential make load-spike",
    "seed-tests": "make load-seed",
    "scale": "make load-scale",
    "edge": "make load-edge",
    "kill": "make load-kill",
    "power-cuts": "make test-faults",
    "compare": "make compare",
    "mixed": "make load-mixed",
    "soak": "make load-soak",
    "month": "make load-month",
    "fleet-import": "LOAD_METERS=1000000 make fleet fleet-import",
    "story": "make load-story",
    "cluster-peak": "make load-cluster",
    "keda": "make compare-keda",
    "cnpg": "make test-cnpg",
    "alerts": "make test-alerts",
}
TITLES = {
    "bench": "Ceilings, in one run",
    "fleet-import": "A fleet imported",
    "kill": "kill -9 under load",
    "power-cuts": "Power cuts under load",
    "spike-sequential": "The same spike, one INSERT at a time",
}
UNITS = {
    "cores": "Cores",
    "meters_s": "Seconds for the meters",
    "readings_s": "Seconds for the readings",
    "cuts": "Power cuts",
    "sent": "Sent",
    "unknown": "Without an answer",
    "acknowledged": "Acknowledged",
    "stored": "In the database",
    "sent_again": "Sent again",
    "lost": "Lost",
    "stored_twice": "Stored twice",
    "service_away_s": "Seconds without an acknowledgement, service killed and started again",
    "database_away_s": "Seconds without an acknowledgement, a process of PostgreSQL killed",
    "meters": "Meters",
    "readings": "Readings",
    "meters_bytes": "Bytes of the meters, with indexes",
    "readings_bytes": "Bytes of the readings, with indexes",
}
FAULT_COLUMNS = {
    "fault": "Fault",
    "acknowledged": "Acknowledged",
    "lost": "Lost",
    "duplicated": "Duplicated",
    "longest_gap_s": "Longest gap, s",
    "alerts": "Alert",
    "seconds": "After s",
    "promised_s": "Promised s",
    "over_s": "Over s after the step",
    "step": "What ended it",
    "load_average": "Load average",
}
HEAD = """# Measured

Every figure that these pages quote is here, out of the file that the command beside it made; `make measured` takes over the newest
run of each kind, and `make reference` makes this page of them. The machine is noted in each: generator, service and database share it,
so these are floors. Measure on your own before you buy any. *Acknowledged* in a verdict counts readings, under *Requests* and in the
tables of several runs requests: a batch is one request with many readings.
"""


def page(folder: Path) -> str:
    """The whole page."""
    return HEAD + "".join(_section(file) for file in sorted(folder.glob("*.json"), key=_order))


def _order(file: Path) -> int:
    return list(COMMANDS).index(file.stem)


def _section(file: Path) -> str:
    figures = json.loads(file.read_text())
    show: Callable[[dict[str, Any]], str] = (
        _bench
        if "points" in figures
        else _comparison
        if "rows" in figures
        else _race
        if "rounds" in figures
        else _faults
        if "faults" in figures
        else _report
        if "verdict" in figures
        else _flat
    )
    title = TITLES.get(file.stem) or figures["title"]
    return f"\n## {title}\n\n`{_command(file.stem, figures)}`, in [{file.name}]({file.name})\n\n{show(figures)}"


def _command(name: str, figures: dict[str, Any]) -> str:
    """With the settings of the run, as far as they are the same on every machine."""
    settings = figures.get("about", {}).get("settings", {})
    given = [
        f"{key}={value}" for key, value in settings.items() if not key.endswith(("_FILE", "_URL", "_URLS", "_DIR"))
    ]
    command = COMMANDS[name]
    return " ".join([setting for setting in given if setting not in command] + [command])


def _table(head: list[str], rows: list[list[object]]) -> str:
    lines: list[list[Any]] = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _report(figures: dict[str, Any]) -> str:
    verdict = figures["verdict"]
    counts = ", ".join(
        f"{verdict[name]:,} {name}"
        for name in ("acknowledged", "shed", "failed", "lost", "duplicated")
        if name in verdict
    )
    rows: list[list[object]] = [
        ["Verdict", f"{figures['outcome']}: {counts}"],
        *([name, value] for name, value in figures["figures"].items()),
    ]
    facts = ", ".join(f"{name.lower()} {value}" for name, value in figures["about"].get("facts", {}).items())
    return (
        _table(["What", "Figure"], rows)
        + "\n"
        + "; ".join(filter(None, [figures["about"].get("machine", ""), facts]))
        + ".\n"
    )


def _comparison(figures: dict[str, Any]) -> str:
    head = ["What", "Readings/s", "p99", "Tail", "Acknowledged", "Shed", "Failed", "Lost", "Duplicated"]
    rows = [_cell(row, row["answers"]) for row in figures["rows"]]
    if "edge" in figures["rows"][0]:
        head += ["CPU of the edge, µs each", "CPU of the service, µs each"]
        rows = [[*cells, row["edge"], row["service"]] for cells, row in zip(rows, figures["rows"], strict=True)]
    return _table(head, rows) + "\n" + " ".join(figures["notes"]) + "\n"


def _race(figures: dict[str, Any]) -> str:
    """The rounds in real time; what the two do in the calendar is in comparison.md."""
    rows: list[list[object]] = [
        [
            each["name"],
            one["name"],
            one["ready_at_start"],
            one["all_ready_s"],
            one["replica_seconds"],
            one["above_baseline"],
        ]
        for each in figures["rounds"]
        for one in each["contestants"]
    ]
    head = ["Round", "Scaled by", "Ready at start", "All Ready after s", "Replica-seconds", "Above the baseline"]
    about, loads = figures["about"], ", ".join(str(each["load_average"]) for each in figures["rounds"])
    machine = f"{about['cores']} cores; load average at the end of each round {loads}."
    versions = f"KEDA {about['keda']}, Kubernetes {about['kubernetes']}"
    return f"{_table(head, rows)}\n{versions}; {machine} More in [comparison.md](../comparison.md).\n"


def _faults(figures: dict[str, Any]) -> str:
    """A row for each fault, in words that say the same in every file."""
    names = dict.fromkeys(name for row in figures["faults"] for name in row if name in FAULT_COLUMNS)
    rows: list[list[object]] = [[row.get(name, "") for name in names] for row in figures["faults"]]
    return _table([FAULT_COLUMNS[name] for name in names], rows) + f"\n{figures['cores']} cores.\n"


def _cell(row: dict[str, Any], answers: dict[str, int]) -> list[object]:
    counts = [f"{answers[kind]:,}" for kind in ("acknowledged", "shed", "failed")]
    return [
        row["label"],
        f"{row['readings_per_s']:,.0f}",
        row["p99"],
        f"{row['tail_s']:.2f} s",
        *counts,
        row["lost"],
        row["duplicated"],
    ]


def _bench(figures: dict[str, Any]) -> str:
    rows: list[list[object]] = [
        [point["what"], point["table"], point["concurrency"], f"{point['rate']:,.0f}", f"{point['p99_ms']:.1f}" if point["p99_ms"] else "",
         f"{point['refused']:,}" if point["refused"] else "", f"{point['rss_mib']:.0f}" if point["rss_mib"] else ""]
        for point in figures["points"]
    ]  # fmt: skip
    head = ["What", "Table", "Clients", "A second", "p99 ms", "Refused", "MiB"]
    notes = [f"{figures['machine']['cores']} cores, shared by client, service and database"]
    notes += [f"medians of {figures['rounds']} rounds"] if "rounds" in figures else []
    notes += [figures["noise"]] if figures.get("noise") else []
    return _table(head, rows) + f"\n{'; '.join(notes)}.\n"


def _flat(figures: dict[str, Any]) -> str:
    return _table(["What", "Figure"], [[UNITS[name], f"{value:,}"] for name, value in figures.items()])
