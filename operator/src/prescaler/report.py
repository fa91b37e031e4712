"""The page that a manager asks for: of each past window and peak what was planned, and what became of it."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from prescaler.window.status import Run, Status

COLUMNS = ("WINDOW", "PLANNED (UTC)", "MIN", "RAISED", "READY", "AT START", "EARLY (+) OR LATE (-)", "WARNED")


def report_of(found: Sequence[tuple[str, Status]]) -> Iterator[str]:
    for name, status in found:
        yield name
        rows = [COLUMNS, *(_row(run) for run in status.history if run.actual_start is not None)]
        if len(rows) == 1:
            yield "  no window has been seen yet"
            continue
        widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
        for row in rows:
            yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        measured = status.ready_time
        if measured is not None:
            yield (
                f"  from raise to Ready: half within {measured.p50_seconds} s, 99 of 100 within {measured.p99_seconds} s"
                f" ({measured.samples} measured)"
            )
        else:
            yield "  from raise to Ready: not measured yet"


def _row(run: Run) -> tuple[str, ...]:
    early = "unknown"
    if run.seconds_early is not None:
        early = f"{'+' if run.seconds_early >= 0 else '-'}{timedelta(seconds=abs(run.seconds_early))}"
    return (
        f"{run.window} (peak)" if run.kind == "Peak" else run.window,
        f"{run.planned_start:%Y-%m-%d %H:%M}",
        str(run.min_replicas),
        _time(run.raised_at),
        _time(run.ready_at),
        run.ready_at_start or "unknown",
        early,
        f"{_time(run.warned_at)} {run.warning}" if run.warned_at is not None else "-",
    )


def _time(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%m-%d %H:%M:%S}"
