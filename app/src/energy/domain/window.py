"""The submission window: on which days of a month readings are taken, and which period a reading counts for.

Suppliers take readings from the 15th to the 26th; days are those of the account's own time zone, because the district
spans UTC+3, +4 and +5. Knows no clock: `now` is an argument.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class SubmissionWindow:
    """From the start of `from_day` to the end of `to_day`, each month; a day past the month's end means its last day."""

    from_day: int
    to_day: int

    def opens(self, month: date, zone: ZoneInfo) -> datetime:
        """The first instant of the window of that month."""
        return datetime(month.year, month.month, _clamped(month, self.from_day), tzinfo=zone)

    def closes(self, month: date, zone: ZoneInfo) -> datetime:
        """The first instant after the window of that month."""
        last = date(month.year, month.month, _clamped(month, self.to_day)) + timedelta(days=1)
        return datetime(last.year, last.month, last.day, tzinfo=zone)


@dataclass(frozen=True, slots=True)
class WindowState:
    """Whether the window is open at an instant, and the nearest one's edges."""

    open: bool
    period: date
    opens_at: datetime
    closes_at: datetime


def _clamped(month: date, day: int) -> int:
    return min(day, monthrange(month.year, month.month)[1])


def next_month(day: date) -> date:
    """The first day of the month after that of `day`."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def period_of(read_at: datetime, window: SubmissionWindow, zone: ZoneInfo) -> date:
    """The billing period (the first day of its month) a reading counts for.

    A reading taken after the window has closed counts for the next period: suppliers move late readings on rather than
    dropping them. `read_at` must be aware.
    """
    day = read_at.astimezone(zone).date()
    month = day.replace(day=1)
    return next_month(day) if day.day > _clamped(month, window.to_day) else month


def is_inside(read_at: datetime, window: SubmissionWindow, zone: ZoneInfo) -> bool:
    """Whether `read_at` falls on a day of the window."""
    day = read_at.astimezone(zone).date()
    return _clamped(day, window.from_day) <= day.day <= _clamped(day, window.to_day)


def window_state(now: datetime, window: SubmissionWindow, zone: ZoneInfo) -> WindowState:
    """The window that is open at `now`, else the next one."""
    period = period_of(now, window, zone)
    opens, closes = window.opens(period, zone), window.closes(period, zone)
    return WindowState(opens <= now < closes, period, opens, closes)
