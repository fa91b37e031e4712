"""When windows are open: each occurrence whole, from the month in which it begins, united over the zones.

An occurrence is made from its window and its month alone and clipped afterwards by whoever asks. So its start, and how
far extensions carry it, are the same whenever one looks. All intervals are half-open.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from prescaler.plan.localtime import DAY_S, day_of_month, instant, local_date, months
from prescaler.plan.schedule import Action, Exemption, Peak, Schedule, Window

LONGEST_D = 62  # from the 1st of a month to the last of the next
WORK_MAX = 100_000  # open stretches, peaks, exceptions and steps of a plan: a second of one core
EXTENDED_D_MAX = 400  # extensions carry an occurrence no further from its first day, however many follow one another


class Demand(NamedTuple):
    """One open interval [start, end) and what it asks for."""

    order: int  # the window's place in the spec: the first one listed wins a tie
    window: str
    start: int
    end: int
    replicas: int
    peak: bool = False


class TooLargeError(ValueError):
    """A schedule whose plan would take everybody's time."""


class Work:
    """What has been done of what may be done for one plan: one object's schedule must not hold up the others."""

    def __init__(self, since: int, until: int) -> None:
        self._left = WORK_MAX * (1 + (until - since) // (LONGEST_D * 2 * DAY_S))

    def add(self, units: int) -> None:
        self._left -= units
        if self._left < 0:
            raise TooLargeError(
                "the schedule is too large: fewer windows, peaks, time zones, exceptions or steps are needed"
            )


class Days(NamedTuple):
    """The calendar days of one occurrence, and the exemptions that touch them."""

    order: int
    window: Window
    first: date
    last: date
    exemptions: tuple[Exemption, ...]


def occurrences(schedule: Schedule, since: int, until: int) -> Iterator[list[Demand]]:
    """Every occurrence whose steps touch [since, until); of its daily peaks those whose steps do."""
    early, late = since - schedule.ramp_down.duration_s, until + schedule.before_s
    work = Work(since, until)
    for days in _all_days(schedule, early, late):
        plain: list[Demand] = []
        peaks: list[Demand] = []
        for zone in schedule.zones:
            work.add(1 + len(days.exemptions))
            for piece, is_plain in _pieces(days, zone):
                plain.append(piece)
                if is_plain:
                    found = list(_peaks(days, piece, max(piece.start, early), min(piece.end, late), zone))
                    work.add(len(found))
                    peaks += found
        if any(piece.start < late and piece.end >= early for piece in plain):
            yield united([*plain, *peaks])


def united(found: Iterable[Demand]) -> list[Demand]:
    """Like demands that touch or overlap are one, which asks for the same at every instant."""
    groups: dict[tuple[int, str, int, bool], list[tuple[int, int]]] = defaultdict(list)
    for order, window, start, end, replicas, peak in found:
        groups[order, window, replicas, peak].append((start, end))
    merged: list[Demand] = []
    for (order, window, replicas, peak), intervals in groups.items():
        intervals.sort()
        start, end = intervals[0]
        for following, its_end in intervals:
            if following > end:
                merged.append(Demand(order, window, start, end, replicas, peak))
                start, end = following, its_end
            end = max(end, its_end)
        merged.append(Demand(order, window, start, end, replicas, peak))
    return sorted(merged, key=lambda d: (d.start, -d.replicas))


def without_effect(schedule: Schedule) -> list[Exemption]:
    """Exemptions that change nothing: no window that they concern is open on their days, or ends later by them."""
    back = timedelta(days=EXTENDED_D_MAX if any(e.until for e in schedule.exemptions) else LONGEST_D)

    @cache
    def days(window: Window, month: tuple[int, int]) -> tuple[date, date, date]:
        first, last = _declared_days(window, month)
        return first, last, _extended(schedule, window, first, last)

    def has_effect(e: Exemption) -> bool:
        return e.action is Action.OPEN or any(
            first <= e.last and e.day <= reaches and (e.until is None or e.until > last)
            for month in months(e.day - back, min(e.last, e.day + timedelta(days=LONGEST_D)))
            for first, last, reaches in (days(window, month) for window in schedule.windows if e.concerns(window))
        )

    return [e for e in schedule.exemptions if not has_effect(e)]


def _all_days(schedule: Schedule, early: int, late: int) -> Iterator[Days]:
    first = min(local_date(early, zone) for zone in schedule.zones) - timedelta(days=1)
    last = max(local_date(late, zone) for zone in schedule.zones)
    extends = any(
        e.until is not None and e.until >= first - timedelta(days=EXTENDED_D_MAX) for e in schedule.exemptions
    )
    back = timedelta(days=EXTENDED_D_MAX if extends else LONGEST_D)
    for month in months(first - back, last):
        for order, window in enumerate(schedule.windows):
            begins, ends = _declared_days(window, month)
            ends = _extended(schedule, window, begins, ends)
            if ends >= first:
                near = (e for e in schedule.exemptions if e.day <= ends and e.last >= begins and e.concerns(window))
                yield Days(order, window, begins, ends, tuple(near))
    for order, exemption in enumerate(schedule.exemptions, start=len(schedule.windows)):
        if exemption.action is Action.OPEN and exemption.last >= first and exemption.day <= last:
            extra = Window(f"open-{exemption.day}", 1, 1, exemption.replicas or 0)
            yield Days(order, extra, exemption.day, exemption.last, ())


def _declared_days(window: Window, month: tuple[int, int]) -> tuple[date, date]:
    """The first and the last day of the window that begins in `month`; toDay before fromDay is in the month after."""
    ends_in = month if window.from_day <= window.to_day else (month[0] + month[1] // 12, month[1] % 12 + 1)
    return day_of_month(*month, window.from_day), day_of_month(*ends_in, window.to_day)


def _extended(schedule: Schedule, window: Window, first: date, last: date) -> date:
    for e in schedule.exemptions[bisect_left(schedule.exemptions, first, key=lambda e: e.day) :]:
        if e.day > last:
            break
        if e.until is not None and e.concerns(window):
            last = max(last, min(e.until, first + timedelta(days=EXTENDED_D_MAX)))  # Extend never shortens
    return last


def _pieces(days: Days, zone: ZoneInfo) -> Iterator[tuple[Demand, bool]]:
    """The open stretches of an occurrence in one zone, and whether they are as the window declares them."""
    order, window = days.order, days.window
    start = instant(days.first, window.start_s, zone, is_end=False)
    end = instant(days.last, window.end_s, zone, is_end=True)
    plain = [(start, end)] if start < end else []
    for e in sorted(days.exemptions, key=lambda e: e.action is not Action.SKIP):  # a day that is skipped is skipped
        if e.action is Action.EXTEND:
            continue
        from_s = instant(e.day, 0, zone, is_end=False)
        to_s = instant(e.last + timedelta(days=1), 0, zone, is_end=False)
        for a, b in plain if e.replicas is not None else ():
            if max(a, from_s) < min(b, to_s):
                yield Demand(order, window.name, max(a, from_s), min(b, to_s), e.replicas or 0), False
        plain = [cut for a, b in plain for cut in ((a, min(b, from_s)), (max(a, to_s), b)) if cut[0] < cut[1]]
    for a, b in plain:
        yield Demand(order, window.name, a, b, window.replicas), True


def _peaks(days: Days, piece: Demand, since: int, until: int, zone: ZoneInfo) -> Iterator[Demand]:
    """The daily peaks inside a piece that touch [since, until]."""
    if not days.window.peaks or since > until:
        return
    day, last_day = local_date(since, zone) - timedelta(days=2), local_date(until, zone)  # a night began the day before
    while day <= last_day:
        for peak in days.window.peaks:
            from_s, to_s = _peak_on(day, peak, zone)
            from_s, to_s = max(piece.start, from_s), min(piece.end, to_s)
            if from_s < to_s and from_s <= until and to_s >= since:
                yield Demand(days.order, piece.window, from_s, to_s, peak.replicas, peak=True)
        day += timedelta(days=1)


def _peak_on(day: date, peak: Peak, zone: ZoneInfo) -> tuple[int, int]:
    overnight_s = DAY_S if peak.end_s <= peak.start_s else 0
    return instant(day, peak.start_s, zone, is_end=False), instant(day, peak.end_s + overnight_s, zone, is_end=True)
