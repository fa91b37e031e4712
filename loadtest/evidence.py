"""What a run left behind, read back for the report: from files only, so that a run that died can be reported too.

Says what is missing instead of guessing it. Knows nothing of pictures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loadtest import ledger

Series = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
MIB = 1024 * 1024
MONTH_DAYS = 31
K6_THRESHOLDS_MISSED = 99
K6_INTERRUPTED = 105
SILENCE_S = 2


@dataclass(frozen=True)
class Evidence:
    """One run's folder."""

    folder: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        return _json(self.folder / "run.json")

    @cached_property
    def verdict(self) -> dict[str, Any]:
        return _json(self.folder / "verdict.json")

    @cached_property
    def k6(self) -> dict[str, Any]:
        return _json(self.folder / "k6.json")

    @cached_property
    def ledger(self) -> ledger.Ledger:
        return ledger.read(self.folder / "ledger.log")

    @cached_property
    def seconds(self) -> pd.DataFrame:
        return ledger.seconds(self.ledger)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row a look, times in seconds since the first request; only columns that were ever seen."""
        rows = _figures([json.loads(line) for line in _lines(self.folder / "samples.jsonl")])
        table = pd.DataFrame(rows, columns=sorted({key for row in rows for key in row} | {"ms"}))
        return table.assign(at_s=(table["ms"].astype(float) - self.start_ms) / 1000)

    @cached_property
    def events(self) -> list[tuple[float, str]]:
        """What was done to the service on purpose, for the marks in the pictures."""
        found = [json.loads(line) for line in _lines(self.folder / "events.jsonl")]
        return [((event["ms"] - self.start_ms) / 1000, event["what"]) for event in found]

    @property
    def start_ms(self) -> float:
        lines = self.ledger.lines
        return float(self.about.get("started_ms", 0) if lines.empty else lines["asked_ms"].min())

    @property
    def length_s(self) -> float:
        return float(max(len(self.seconds), 1))

    def has(self, column: str) -> bool:
        """Whether there is a line to draw of it."""
        return column in self.samples and int(self.samples[column].notna().sum()) > 1

    def series(self, column: str) -> Series:
        """Times and values."""
        seen = self.samples[["at_s", column]].dropna()
        return seen["at_s"].to_numpy(float), seen[column].to_numpy(float)

    @property
    def dropped(self) -> int | None:
        """Requests the generator could not send in time; `None` if nobody knows."""
        if self.k6:
            return int(self.k6["metrics"].get("dropped_iterations", {}).get("values", {}).get("count", 0))
        return int(self.series("dropped")[1].max()) if self.has("dropped") else None

    @property
    def thresholds(self) -> list[tuple[str, bool]]:
        """k6's own thresholds and whether they were kept."""
        metrics = self.k6.get("metrics", {})
        return [
            (f"{name} {rule}", state["ok"])
            for name, m in metrics.items()
            for rule, state in m.get("thresholds", {}).items()
        ]

    @property
    def missing(self) -> list[str]:
        """Sentences about what this report cannot say, and why."""
        found = []
        if "k6_exit" not in self.about:
            found.append(
                "The lab itself was stopped before the run ended; this report was made afterwards from its files."
            )
        elif self.about["k6_exit"] not in (0, K6_THRESHOLDS_MISSED):
            how = (
                "was interrupted"
                if self.about["k6_exit"] == K6_INTERRUPTED
                else f"ended early (exit code {self.about['k6_exit']})"
            )
            found.append(f"k6 {how}: the load stopped after {self.length_s:.0f} s.")
        if not self.k6:
            found.append("k6 left no summary: its thresholds were not judged. Everything below comes from its ledger.")
        if self.ledger.lines.empty:
            found.append("The ledger is empty: no request was ever answered, nothing can be said about the service.")
        if self.ledger.cut_off:
            found.append("The last line of the ledger is cut off: one answer may be unrecorded.")
        if (silent_s := self.silent_from_s) is not None:
            found.append(
                f"From second {silent_s} on the service gave no answer: the figures are those of a service that died."
            )
        if self.verdict.get("lost") is None:
            why = self.verdict.get("not_counted_because") or "the run ended before the database was asked"
            found.append(f"Lost and duplicated were not counted: {why}.")
        if not any("commits" in row for row in self.samples.columns):
            found.append("No /metrics page could be read: queue, commit and memory are not drawn.")
        return found

    @property
    def silent_from_s(self) -> int | None:
        """The second from which no reading was stored or shed to the end, if the end is that silent."""
        table = self.seconds
        answered = table.index[(table["acknowledged"] + table["replayed"] + table["shed"] + table["refused"]) > 0]
        last = int(answered[-1]) + 1 if len(answered) else 0
        return last if table["failed"].loc[last:].sum() > 0 and len(table) - last >= SILENCE_S else None

    @property
    def complete(self) -> bool:
        return bool(self.k6) and self.about.get("k6_exit") in (0, K6_THRESHOLDS_MISSED) and not self.ledger.lines.empty

    @property
    def judgement(self) -> tuple[str, str]:
        """(`passed`, `failed` or `unknown`, the sentence that says why)."""
        v = self.verdict
        if v.get("sound") is False:
            return (
                "failed",
                f"{v['lost']} acknowledged readings lost, {v['duplicated']} duplicated, {v['stored_though_refused']} kept though refused.",
            )
        if self.dropped:
            return (
                "unknown",
                f"The generator was the limit and could not send {self.dropped:,} requests in time: this says little about the service.",
            )
        if not self.complete:
            return "unknown", "The run is incomplete; see what is missing below."
        if missed := [rule for rule, kept in self.thresholds if not kept]:
            return "failed", f"Missed: {'; '.join(missed)}."
        if v.get("sound") is None:
            return "unknown", "The thresholds were kept, but nobody compared with the database."
        return "passed", "Every acknowledged reading is in the database exactly once, and every threshold was kept."

    @property
    def goodput(self) -> float | None:
        """In a spike: committed readings a second while it lasts, as a share of those at the peak before it."""
        if self.about.get("scenario") != "spike" or len(self.seconds) == 0:
            return None
        hold = float(self.about["settings"].get("LOAD_SPIKE_HOLD_S", 20))
        table = self.seconds["readings"]
        before, during = table.loc[5 + 1 : 5 + hold - 2], table.loc[5 + hold + 3 : 5 + 2 * hold]
        return float(during.mean() / before.mean()) if len(before) and len(during) and before.mean() else None

    @property
    def headline(self) -> str:
        return str(self.about.get("title", self.folder.name))

    @property
    def is_month(self) -> bool:
        return self.about.get("scenario") == "month"

    @property
    def time_label(self) -> str:
        return "day of the month" if self.is_month else "seconds since the first request"

    @property
    def day_ticks(self) -> list[float]:
        """Where the days stand that people know: the first, the window's edges, the last."""
        length = float(self.about["settings"].get("LOAD_DURATION_S", 60))
        return [(day - 1) / MONTH_DAYS * length for day in (1, 5, 10, 15, 18, 21, 24, 27, 31)]

    def time_text(self, second: float, _position: int = 0) -> str:
        """A place on the time axis in words: in a month its day."""
        if not self.is_month:
            return f"{second:g}"
        length = float(self.about["settings"].get("LOAD_DURATION_S", 60))
        return f"{second / length * MONTH_DAYS + 1:.0f}"

    @property
    def when(self) -> str:
        return f"{datetime.fromtimestamp(self.about.get('started_ms', 0) / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _figures(samples: list[dict[str, Any]]) -> list[dict[str, float | None]]:
    rows: list[dict[str, float | None]] = []
    before: dict[str, dict[str, float]] = {}
    for sample in samples:
        row: dict[str, float | None] = {
            key: sample[key]
            for key in ("ms", "ready", "hpa_min", "hpa_max", "hpa_desired", "planned_min")
            if key in sample
        }
        row |= sample.get("k6", {})
        pods = sample["pods"]
        if pods:
            row["commits"] = sum(pod.get("commits", 0) for pod in pods.values())
            row["queue_rows"] = sum(pod.get("queue_rows", 0) for pod in pods.values())
            row["rss_mib"] = sum(pod.get("rss_bytes", 0) for pod in pods.values()) / MIB
            row |= _since(before, pods)
        before = pods
        rows.append(row)
    return rows


def _since(before: dict[str, dict[str, float]], now: dict[str, dict[str, float]]) -> dict[str, float]:
    """Mean commit time and rows a commit between two looks, over the pods that were there both times."""
    both = [(before[name], now[name]) for name in now if name in before]
    commits = sum(new["commits"] - old["commits"] for old, new in both if "commits" in old and "commits" in new)
    if commits <= 0:
        return {}
    seconds = sum(new["commit_sum_s"] - old["commit_sum_s"] for old, new in both)
    rows = sum(new["batch_rows"] - old["batch_rows"] for old, new in both)
    return {"commit_ms": 1000 * seconds / commits, "rows_a_commit": rows / commits}


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _lines(path: Path) -> list[str]:
    """Whole lines only: the last one may have been cut off."""
    return path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
