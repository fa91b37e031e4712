"""Between rows and values: the one place that knows the columns' order and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from energy.domain.checks import CheckPolicy
from energy.domain.reading import Doubtful, Neighbour, Reading, Stored

type_of_record = Mapping[str, Any]
"""asyncpg's Record: untyped by nature, given types right here."""


def columns_of(batch: Sequence[Reading]) -> list[object]:
    """The nine columns that a batch is sent as (see statements.py), and the one reading that it corrects, if it does."""
    return [
        [r.device_id for r in batch],
        [r.reading_id for r in batch],
        ",".join([r.register for r in batch]),
        ",".join([r.value for r in batch]),
        [r.read_at for r in batch],
        [r.received_at for r in batch],
        ",".join([r.source for r in batch]),
        [r.by_person and not r.confirmed for r in batch],
        ",".join([r.key_id.replace(",", " ") for r in batch]),
        batch[0].supersedes if batch else None,
    ]


def policy_arguments(policy: CheckPolicy, now: datetime) -> list[object]:
    """The five scalars behind them."""
    return [
        policy.zone,
        now + timedelta(seconds=policy.future_tolerance_s),
        spike_argument(policy),
        policy.window.from_day,
        policy.window.to_day,
    ]


@cache
def spike_argument(policy: CheckPolicy) -> Decimal:
    """The limit with the digits it was written with."""
    return Decimal(str(policy.spike_kwh_per_day_max))


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
