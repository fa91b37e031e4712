"""The checks a reading goes through (validation, in the words of meter data management).

This is the definition. The database applies the same rules to a whole batch inside the statement that stores it
(`store/postgres/judgement.py`), where it can see the other readings without a round trip; a property test holds
the two equal.

Readings of a register have one order, whatever order they arrive in: by time, and at the same time by value. (Readings without a
time of their own have that of their arrival: those of one batch are not compared with each other.) A reading is
flagged by comparing it with the one before it, so flags depend on what is stored and not on how it came there. A reading
that arrives between two others has the later one judged again (`ingest/rejudging.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from energy.domain.reading import Flag, Neighbour
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
    """What is known of a device: digits of its counter, kWh per unit, and when it was there."""

    digits: int
    multiplier: Decimal
    zone: ZoneInfo
    decimals: int = 3
    installed_at: datetime | None = None
    removed_at: datetime | None = None


def judge(
    value: Decimal,
    read_at: datetime,
    previous: Neighbour | None,
    meter: Meter | None,
    policy: CheckPolicy,
    now: datetime,
) -> list[Flag]:
    """The flags of a reading, in the order of `Flag`.

    `previous`: the last one before it, by time and then by value, since the meter was installed; not a superseded one.
    """
    zone = meter.zone if meter else ZoneInfo(policy.zone)
    found: list[Flag] = []
    if meter is None:
        found.append(Flag.UNMATCHED)
    if previous is not None:
        found.extend(against_previous(value, read_at, previous, meter, policy))
    if meter is not None and not _fits(value, meter):
        found.append(Flag.BEYOND_COUNTER)
    if read_at > now + timedelta(seconds=policy.future_tolerance_s):
        found.append(Flag.FUTURE)
    if not is_inside(read_at, policy.window, zone):
        found.append(Flag.OUT_OF_WINDOW)
    if meter and meter.removed_at and read_at > meter.removed_at:
        found.append(Flag.AFTER_REMOVAL)
    return found


def doubts_of_next(
    value: Decimal, read_at: datetime, following: Neighbour | None, meter: Meter | None, policy: CheckPolicy
) -> list[Flag]:
    """What a person is asked because of the reading after this one, in terms of this one.

    A rollover between the two is no reason: it was there before.
    """
    if following is None or (meter and meter.installed_at and read_at < meter.installed_at):
        return []
    flags = against_previous(following.value, following.read_at, Neighbour(value, read_at), meter, policy)
    return [
        Flag.MORE_THAN_NEXT if flag is Flag.LESS_THAN_PREVIOUS else flag for flag in flags if flag is not Flag.ROLLOVER
    ]


def against_previous(
    value: Decimal, read_at: datetime, previous: Neighbour, meter: Meter | None, policy: CheckPolicy
) -> list[Flag]:
    """The one flag at most that comes of comparing two neighbours."""
    if previous.read_at == read_at:
        return [Flag.SAME_TIME]
    if value < previous.value:
        rolled = meter is not None and _has_rolled_over(value, previous.value, meter.digits)
        return [Flag.ROLLOVER if rolled else Flag.LESS_THAN_PREVIOUS]
    days = max(Decimal((read_at - previous.read_at).total_seconds()) / 86_400, Decimal(1))
    consumption = (value - previous.value) * (meter.multiplier if meter else 1)
    return [Flag.SPIKE] if consumption > Decimal(str(policy.spike_kwh_per_day_max)) * days else []


def _fits(value: Decimal, meter: Meter) -> bool:
    """Whether the counter can show the value."""
    return value < Decimal(10) ** meter.digits and value == round(value, meter.decimals)


def _has_rolled_over(value: Decimal, previous: Decimal, digits: int) -> bool:
    capacity = Decimal(10) ** digits
    return previous < capacity and previous >= capacity * (1 - ROLLOVER_SHARE) and value < capacity * ROLLOVER_SHARE
