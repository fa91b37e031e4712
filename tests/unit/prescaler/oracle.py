"""What a schedule asks for, judged minute by minute the slow way: nothing of the planner's interval arithmetic is used.

For every minute of a stretch of time and every zone it reads the clock on the wall and the calendar, asks whether a
window is open just then, finds the runs of open minutes, and looks back and ahead from the minute in question to the
runs around it.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from prescaler.plan.schedule import Action, Exemption, Peak, Schedule, Window

MINUTE = timedelta(minutes=1)


@lru_cache(maxsize=64)
def wall_minutes(zone: ZoneInfo, start: datetime, minutes: int) -> list[datetime]:
    """What the clocks of `zone` show at each minute from `start`."""
    return [(start + i * MINUTE).astimezone(zone).replace(tzinfo=None) for i in range(minutes)]


@dataclass(frozen=True)
class Run:
    first: int  # minutes: open in [first, end)
    end: int
    replicas: int


class Oracle:
    def __init__(self, schedule: Schedule, start: datetime, days: int) -> None:
        self.schedule, self.start = schedule, start.astimezone(UTC)
        self.minutes = days * 24 * 60
        self.runs: list[Run] = []
        for zone in schedule.zones:
            wall = wall_minutes(zone, self.start, self.minutes)
            for window in schedule.windows:
                asked = self._asked_each_minute(window, wall)
                self.runs += runs_of([row[0] for row in asked])
                for number in range(len(window.peaks)):
                    self.runs += runs_of([row[1][number] for row in asked])
            for extra in schedule.exemptions:
                if extra.action is Action.OPEN:
                    asked_then = [extra.replicas if extra.day <= w.date() <= extra.last else None for w in wall]
                    self.runs += runs_of(asked_then)

    def minimum(self, minute: int) -> int:
        return max([self.schedule.baseline, *(self._asked_around(run, minute) for run in self.runs)])

    def is_open(self, minute: int) -> bool:
        return any(run.first <= minute < run.end for run in self.runs)

    def _asked_around(self, run: Run, minute: int) -> int:
        base, up, down = self.schedule.baseline, self.schedule.ramp_up, self.schedule.ramp_down
        lead = self.schedule.lead_s // 60
        if run.first <= minute < run.end:
            return run.replicas
        if minute < run.first:
            done = [
                i
                for i in range(1, up.steps + 1)
                if minute >= run.first - lead - (up.steps - i) * up.duration_s // 60 // up.steps
            ]
            return base + share(run.replicas - base, len(done), up.steps)
        taken = [
            i for i in range(1, down.steps + 1) if minute >= run.end + (i - 1) * down.duration_s // 60 // down.steps
        ]
        return base + share(run.replicas - base, down.steps - len(taken), down.steps)

    def _asked_each_minute(self, window: Window, wall: list[datetime]) -> list[tuple[int | None, list[int | None]]]:
        opened = [False] * len(wall)
        for first_wall, end_wall in self._occurrences(window, wall[0].date(), wall[-1].date()):
            first = next((i for i, shown in enumerate(wall) if shown >= first_wall), len(wall))
            last = next((i for i in reversed(range(len(wall))) if wall[i] < end_wall), -1)
            opened[first : last + 1] = [True] * (last + 1 - first)
        rows: list[tuple[int | None, list[int | None]]] = []
        closed: tuple[int | None, list[int | None]] = (None, [None] * len(window.peaks))
        for i, shown in enumerate(wall):
            if not opened[i]:
                rows.append(closed)
                continue
            that_day = [e for e in self.schedule.exemptions if e.day <= shown.date() <= e.last and meant(e, window)]
            skipped = any(e.action is Action.SKIP for e in that_day)
            overridden = [e.replicas for e in that_day if e.action is Action.OVERRIDE]
            if skipped:
                rows.append(closed)
            elif overridden:
                rows.append((overridden[0], [None] * len(window.peaks)))
            else:
                rows.append(
                    (window.replicas, [peak.replicas if in_peak(peak, shown) else None for peak in window.peaks])
                )
        return rows

    def _occurrences(self, window: Window, first: date, last: date) -> list[tuple[datetime, datetime]]:
        found = []
        for year in range(first.year - 1, last.year + 2):
            for month in range(1, 13):
                begins = clamped(year, month, window.from_day)
                ends = clamped(year, month, window.to_day)
                if window.from_day > window.to_day:
                    ends = (
                        clamped(year + 1, 1, window.to_day) if month == 12 else clamped(year, month + 1, window.to_day)
                    )
                for exemption in sorted(self.schedule.exemptions, key=lambda e: e.day):
                    if exemption.until is not None and meant(exemption, window) and begins <= exemption.day <= ends:
                        ends = max(ends, exemption.until)
                at = timedelta(seconds=window.start_s), timedelta(seconds=window.end_s)
                midnight = datetime.min.time()
                found.append((datetime.combine(begins, midnight) + at[0], datetime.combine(ends, midnight) + at[1]))
        return [(a, b) for a, b in found if a.date() <= last and b.date() >= first]


def meant(exemption: Exemption, window: Window) -> bool:
    return exemption.windows == () or window.name in exemption.windows


def clamped(year: int, month: int, day: int) -> date:
    while True:
        try:
            return date(year, month, day)
        except ValueError:
            day -= 1


def in_peak(peak: Peak, shown: datetime) -> bool:
    second = (shown.hour * 60 + shown.minute) * 60
    if peak.start_s < peak.end_s:
        return peak.start_s <= second < peak.end_s
    return second >= peak.start_s or second < peak.end_s


def share(rise: int, part: int, whole: int) -> int:
    """ceil(rise * part / whole), counted out."""
    result = -abs(rise)
    while result * whole < rise * part:
        result += 1
    return result


def runs_of(asked: list[int | None]) -> list[Run]:
    found, first = [], 0
    for i in range(1, len(asked) + 1):
        if i == len(asked) or asked[i] != asked[first]:
            value = asked[first]
            if value is not None:
                found.append(Run(first, i, value))
            first = i
    return found
