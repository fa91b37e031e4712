"""Counts what became of readings: once a batch, because once a reading would cost more than the reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from energy import metrics
from energy.domain.reading import (
    AlreadySuperseded,
    Committed,
    Conflicting,
    Doubtful,
    Outcome,
    Undecided,
    Unstorable,
)

_LABELS: dict[type, str] = {
    Committed: "committed",
    Doubtful: "doubtful",
    Conflicting: "conflicting",
    AlreadySuperseded: "already_superseded",
    Unstorable: "unstorable",
    Undecided: "undecided",
}


def count(outcomes: Iterable[Outcome]) -> None:
    """Into the metrics; a flag is counted when its reading is stored, not when it is repeated."""
    became: Counter[str] = Counter()
    flags: Counter[tuple[str, ...]] = Counter()
    for outcome in outcomes:
        if isinstance(outcome, Committed):
            became["replayed" if outcome.replayed else "committed"] += 1
            if outcome.flags and not outcome.replayed:
                flags[outcome.flags] += 1
        else:
            became[_LABELS[type(outcome)]] += 1
    for label, number in became.items():
        metrics.READINGS.labels(label).inc(number)
    for together, number in flags.items():
        for flag in together:
            metrics.FLAGGED.labels(flag).inc(number)
