"""The checks a reading goes through (validation, in the words of meter data management).

This is the definition. The database applies the same rules to a whole batch inside the statement that stores it
(`store/postgres/statements.py`), where it can see the previous readings without a round trip; a property test holds
the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from energy.domain.reading import Flag, Previous
from energy.domain.window import SubmissionWindow, is_inside

ROLLOVER_SHARE = Decimal("0.1")
"""A drop is taken for a rollover when the last tenth of the counter's range is left and the first tenth entered."""


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """What counts as suspicious. `zone` is used for meters that no account is known for."""

    window: SubmissionWindow
    zone: str
    future_tolerance_s: float
    spike_kwh_per_day_max: float


@dataclass(frozen=True, slots=True)
class Meter:
    """What is known of a device: `digits` before the decimal point, kWh per unit, and when it was there."""

    digits: int
    multiplier: Decimal
    zone: ZoneInfo
    installed_at: datetime | None = None
    removed_at: datetime | None = None


def judge(
    value: Decimal,
    read_at: datetime,
    previous: Previous | None,
    meter: Meter | None,
    policy: CheckPolicy,
    now: datetime,
) -> list[Flag]:
    """The flags of a reading, in the order of `Flag`. `previous`: the latest one before it that is not superseded."""
    zone = meter.zone if meter else ZoneInfo(policy.zone)
    found: list[Flag] = []
    if meter is None:
        found.append(Flag.UNMATCHED)
    if previous is not None:
        found.extend(_against_previous(value, read_at, previous, meter, policy))
    if read_at > now + timedelta(seconds=policy.future_tolerance_s):
        found.append(Flag.FUTURE)
    if not is_inside(read_at, policy.window, zone):
        found.append(Flag.OUT_OF_WINDOW)
    if meter and meter.removed_at and read_at > meter.removed_at:
        found.append(Flag.AFTER_REMOVAL)
    return found


def _against_previous(
    value: Decimal, read_at: datetime, previous: Previous, meter: Meter | None, policy: CheckPolicy
) -> list[Flag]:
    if value < previous.value:
        rolled = meter is not None and _has_rolled_over(value, previous.value, meter.digits)
        return [Flag.ROLLOVER if rolled else Flag.LESS_THAN_PREVIOUS]
    days = max(Decimal((read_at - previous.read_at).total_seconds()) / 86_400, Decimal(1))
    consumption = (value - previous.value) * (meter.multiplier if meter else 1)
    return [Flag.SPIKE] if consumption > Decimal(str(policy.spike_kwh_per_day_max)) * days else []


def _has_rolled_over(value: Decimal, previous: Decimal, digits: int) -> bool:
    capacity = Decimal(10) ** digits
    return previous < capacity and previous >= capacity * (1 - ROLLOVER_SHARE) and value < capacity * ROLLOVER_SHARE
