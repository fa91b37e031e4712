"""The client's own record: one line an answer, written by k6 at once, so that it is there whatever dies.

    <asked at, ms> <by> <space> <number> <readings> <status> <took, ms>

`by` is `r` when the reading's id carries the number, `d` when the device's does (the task's API has no reading id), `h` for
a history read. The id of (space, number) is `readingId` in k6/lib.js; `code_of` is its inverse. Knows nothing of databases.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd

COLUMNS = ["asked_ms", "by", "space", "number", "readings", "status", "took_ms"]
NUMBER_BITS = 48
CREATED, REPLAYED = 201, 200
ACKNOWLEDGED = (REPLAYED, CREATED)
SHED = (429, 503)
KINDS = ("acknowledged", "replayed", "shed", "refused", "failed")

Codes = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The lines as a table, and whether the last one was cut off in the middle of writing."""

    lines: pd.DataFrame
    cut_off: bool

    @property
    def writes(self) -> pd.DataFrame:
        """Without the history reads."""
        return self.lines[self.lines["by"] != "h"]


def read(path: Path) -> Ledger:
    """Reads what is there; an incomplete last line (k6 was killed) is left out and reported."""
    text = path.read_bytes() if path.exists() else b""
    whole, _, rest = text.rpartition(b"\n")
    types = {
        "asked_ms": "int64",
        "space": "int64",
        "number": "int64",
        "readings": "int64",
        "status": "int64",
        "took_ms": "float64",
    }
    rows = [line.split() for line in whole.decode(errors="replace").splitlines()]
    lines = pd.DataFrame([row for row in rows if len(row) == len(COLUMNS) and row[1] in "rdh"], columns=COLUMNS)
    return Ledger(lines.astype(types), cut_off=bool(rest))


def kind_of(status: pd.Series) -> pd.Series:
    """What an answer means for the reading: stored now, stored before, come again, never, or don't know."""
    kinds = np.select(
        [status == 201, status == 200, status.isin(SHED), (status >= 400) & (status < 500)],  # noqa: PLR2004 - HTTP
        ["acknowledged", "replayed", "shed", "refused"],
        default="failed",
    )
    return pd.Series(kinds, index=status.index)


@dataclass(frozen=True, slots=True)
class Claims:
    """What the client knows of each reading it sent, by code; the four are apart from one another."""

    acknowledged: Codes
    shed: Codes
    refused: Codes
    failed: Codes

    @property
    def sent(self) -> int:
        return len(self.acknowledged) + len(self.shed) + len(self.refused) + len(self.failed)


def claims(ledger: Ledger) -> Claims:
    """One verdict per reading: acknowledged if any of its answers said so, otherwise what the last one said."""
    writes = ledger.writes
    counts = writes["readings"].to_numpy(np.int64)
    first = (writes["space"].to_numpy(np.int64) << NUMBER_BITS) | writes["number"].to_numpy(np.int64)
    offsets = np.arange(counts.sum(), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    codes = np.repeat(first, counts) + offsets
    kinds = np.repeat(kind_of(writes["status"]).to_numpy(object), counts)
    known = np.isin(kinds, ("acknowledged", "replayed"))
    acknowledged = np.unique(codes[known])
    last = pd.Series(kinds, index=codes)
    last = last[~last.index.isin(acknowledged)]
    last = last[~last.index.duplicated(keep="last")]

    def of(kind: str) -> Codes:
        return np.asarray(last.index[last == kind], dtype=np.int64)

    return Claims(acknowledged, of("shed"), of("refused"), of("failed"))


def code_of(identifier: UUID) -> int:
    """(space, number) of an id of this run, as one figure."""
    return ((identifier.int >> 80) & 0xFFFF) << NUMBER_BITS | (identifier.int & ((1 << NUMBER_BITS) - 1))


def id_range(run: str) -> tuple[UUID, UUID]:
    """The first and the last id a run can have."""
    return UUID(f"{run}-0000-4000-8000-{0:012x}"), UUID(f"{run}-ffff-4000-8000-{(1 << NUMBER_BITS) - 1:012x}")


def seconds(ledger: Ledger) -> pd.DataFrame:
    """Answers a second by kind, and the latency percentiles of the writes that were acknowledged. Index: seconds since the start."""
    lines = ledger.lines
    if lines.empty:
        return pd.DataFrame(columns=[*KINDS, "reads", "offered", "readings", "p50", "p95", "p99"])
    start_ms = lines["asked_ms"].min()
    at = ((lines["asked_ms"] + lines["took_ms"] - start_ms) // 1000).astype(int)
    asked = ((lines["asked_ms"] - start_ms) // 1000).astype(int)
    writes = lines["by"] != "h"
    kind = kind_of(lines["status"]).where(writes, "reads")
    index = pd.RangeIndex(0, max(at.max(), asked.max()) + 1)
    table = pd.crosstab(at, kind).reindex(index, fill_value=0).reindex(columns=[*KINDS, "reads"], fill_value=0)
    table["offered"] = asked[writes].value_counts().reindex(index, fill_value=0)
    good = writes & lines["status"].isin(ACKNOWLEDGED)
    new = good & (lines["status"] == CREATED)
    table["readings"] = lines["readings"][new].groupby(at).sum().reindex(index, fill_value=0)
    took = lines["took_ms"][good].groupby(at)
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        table[name] = took.quantile(share).reindex(index)
    return table
