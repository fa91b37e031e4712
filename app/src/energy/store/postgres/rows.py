"""Between rows and values: the one place that knows the columns' order and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from energy.domain.checks import CheckPolicy
from energy.domain.reading import Doubtful, Neighbour, Reading, Stored

type_of_record = Mapping[str, Any]
"""asyncpg's Record: untyped by nature, given types right here."""


def columns_of(batch: Sequence[Reading]) -> list[str]:
    """The ten columns that a batch is sent as, each its values with commas between."""
    columns = (
        [str(r.device_id) for r in batch],
        [str(r.reading_id) for r in batch],
        [r.register for r in batch],
        [r.value for r in batch],
        [r.read_at.isoformat() for r in batch],
        [r.received_at.isoformat() for r in batch],
        [r.source for r in batch],
        ["1" if r.by_person and not r.confirmed else "0" for r in batch],
        [str(r.supersedes) if r.supersedes else "" for r in batch],
        [r.key_id.replace(",", " ") for r in batch],
    )
    return [",".join(column) for column in columns]


def policy_arguments(policy: CheckPolicy, now: datetime) -> list[str | int]:
    """The six scalars behind them."""
    return [
        policy.zone,
        now.isoformat(),
        f"{policy.future_tolerance_s} seconds",
        str(policy.spike_kwh_per_day_max),
        policy.window.from_day,
        policy.window.to_day,
    ]


def stored_of(row: type_of_record, flags: str = "flags") -> Stored:
    """A row of `readings`."""
    return Stored(
        device_id=row["device_id"],
        reading_id=row["reading_id"],
        register=row["register"],
        value=row["value"],
        read_at=row["read_at"].astimezone(UTC),
        received_at=row["received_at"].astimezone(UTC),
        period=row["period"],
        source=row["source"],
        status=row["status"],
        flags=flags_of(row[flags]),
        supersedes=row["supersedes"],
        key_id=row["key_id"] or "",
    )


def doubtful_of(row: type_of_record) -> Doubtful:
    """What a person has to be asked about a reviewed row."""
    of_next = (row["of_next"],) if row["of_next"] else ()
    return Doubtful((*flags_of(row["flags"]), *of_next), _neighbour(row, "previous"), _neighbour(row, "next"))


def _neighbour(row: type_of_record, which: str) -> Neighbour | None:
    read_at = row[f"{which}_at"]
    return Neighbour(row[f"{which}_value"], read_at.astimezone(UTC)) if read_at is not None else None


def flags_of(text: str) -> tuple[str, ...]:
    """The flags column as a tuple."""
    return tuple(text.split(",")) if text else ()
