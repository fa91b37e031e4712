"""Local calendar times as instants: days of a month, month ends, clock changes.

Every schedule mistake this product exists to avoid lives here: the 31st in February, a window that crosses a month's
end, a local time that a clock change swallows or repeats. Instants are whole seconds since 1970 in UTC.

Knows nothing of windows, replicas or Kubernetes.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY_S = 86_400
YEARS = (2000, 2180)  # what may be planned: the first, and the one after the last
_MIDNIGHT = time()
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def instant(day: date, second_of_day: int, zone: ZoneInfo, *, is_end: bool) -> int:
    """The instant at which the clocks of `zone` show `second_of_day` (24:00 and beyond allowed) of `day`.

    A time that a clock change swallows is the first instant after the gap. One that occurs twice is its first
    occurrence for a start and its second for an end, so that a window is never shorter than people read it.
    """
    wall_s = (day.toordinal() - _EPOCH_DAY) * DAY_S + second_of_day
    local = datetime.combine(day, _MIDNIGHT, zone) + timedelta(seconds=second_of_day)
    first_s, second_s = _offset_s(local), _offset_s(local.replace(fold=1))
    if first_s == second_s:
        return wall_s - first_s
    if first_s > second_s:  # the hour is repeated
        return wall_s - (second_s if is_end else first_s)
    return _first_instant_showing(wall_s, wall_s - second_s, wall_s - first_s, zone)


def _offset_s(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None, "local times here always carry their zone"  # noqa: S101 - narrows the type, can't fail
    return offset.days * DAY_S + offset.seconds


def _first_instant_showing(wall_s: int, before: int, after: int, zone: ZoneInfo) -> int:
    """Bisect for the end of the gap that swallows `wall_s`: zoneinfo does not tell its transitions."""
    while after - before > 1:
        middle = (before + after) // 2
        if middle + _offset_s(datetime.fromtimestamp(middle, zone)) >= wall_s:
            after = middle
        else:
            before = middle
    return after


def local_date(at: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at, zone).date()


def day_of_month(year: int, month: int, day: int) -> date:
    """A day past the month's end means its last day: the 31st is the 28th in February."""
    return date(year, month, min(day, monthrange(year, month)[1]))


def months(since: date, until: date) -> Iterator[tuple[int, int]]:
    """Every (year, month) from the one of `since` to the one of `until`, both included."""
    index, last = since.year * 12 + since.month - 1, until.year * 12 + until.month - 1
    while index <= last:
        yield index // 12, index % 12 + 1
        index += 1


def utc(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)
