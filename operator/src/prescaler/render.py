"""A plan for people and programs: a table in local times, JSON, a calendar, and what changes between two plans."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from prescaler.plan.planner import State, Transition, openings, state_at, transitions
from prescaler.plan.schedule import Schedule

ICS_OCTETS_MAX = 75  # RFC 5545; the line break is not counted


def table(schedule: Schedule, since: datetime, until: datetime) -> Iterator[str]:
    state = state_at(schedule, since)
    yield f"At {_local(since, schedule.zones[0])}: {state.phase}, minimum {state.replicas}"
    rows = [("UTC", *(zone.key for zone in schedule.zones), "MIN", "PHASE", "WINDOW", "OVERLAPS")]
    for at, (replicas, phase, window, others) in transitions(schedule, since, until):
        local = (f"{at.astimezone(zone):%a %d %b %H:%M}" for zone in schedule.zones)
        rows.append((f"{at:%Y-%m-%d %H:%M}", *local, str(replicas), phase.value, window or "-", ", ".join(others)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def as_json(schedule: Schedule, since: datetime, until: datetime) -> str:
    """The state at `since`, then one entry for each change."""
    rows = [Transition(since, state_at(schedule, since)), *transitions(schedule, since + timedelta(seconds=1), until)]
    return json.dumps([_entry(at, state) for at, state in rows], indent=2, ensure_ascii=False)


def _entry(at: datetime, state: State) -> dict[str, object]:
    return {
        "at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "minReplicas": state.replicas,
        "phase": state.phase.value,
        "window": state.window,
    }


def calendar(name: str, schedule: Schedule, since: datetime, until: datetime) -> str:
    """RFC 5545: one event for each time a window is open, the one that is open at `since` included."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//prescaler//billing windows//EN"]
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for opening in openings(schedule, since, until):
        lines += [
            "BEGIN:VEVENT",
            f"UID:{_escaped(name)}-{_escaped(opening.window)}-{opening.start:%Y%m%dT%H%M%SZ}@prescaler",
            f"DTSTAMP:{stamp}",
            f"DTSTART:{opening.start:%Y%m%dT%H%M%SZ}",
            f"DTEND:{opening.end:%Y%m%dT%H%M%SZ}",
            f"SUMMARY:{_escaped(opening.window)} (at least {opening.replicas} replicas)",
            "END:VEVENT",
        ]
    folded = (piece for line in [*lines, "END:VCALENDAR"] for piece in _folded(line))
    return "".join(f"{line}\r\n" for line in folded)


def differences(old: Schedule, new: Schedule, since: datetime, until: datetime) -> Iterator[str]:
    """Every stretch of time for which two schedules ask for different minimums."""
    before, after = _steps(old, since, until), _steps(new, since, until)
    moments = sorted({at for at, _ in (*before, *after)})
    stretch: tuple[datetime, int, int] | None = None
    for at in moments:
        pair = (_value(before, at), _value(after, at))
        if stretch is not None and stretch[1:] != pair:
            if stretch[1] != stretch[2]:
                yield _stretch(stretch, at, new)
            stretch = None
        stretch = stretch or (at, *pair)
    if stretch is not None and stretch[1] != stretch[2]:
        yield _stretch(stretch, until, new)


def _stretch(stretch: tuple[datetime, int, int], end: datetime, schedule: Schedule) -> str:
    start, old, new = stretch
    zone = schedule.zones[0]
    return f"{_local(start, zone)} to {_local(end, zone)}: {old} -> {new} ({new - old:+d})"


def _steps(schedule: Schedule, since: datetime, until: datetime) -> list[tuple[datetime, int]]:
    changes: Sequence[Transition] = transitions(schedule, since + timedelta(seconds=1), until)
    return [(since, state_at(schedule, since).replicas), *((t.at, t.state.replicas) for t in changes)]


def _value(steps: list[tuple[datetime, int]], at: datetime) -> int:
    return next(replicas for moment, replicas in reversed(steps) if moment <= at)


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M} {zone.key}"


def _escaped(text: str) -> str:
    for character, written in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\r", ""), ("\n", "\\n")):
        text = text.replace(character, written)
    return text


def _folded(line: str) -> Iterator[str]:
    """By octets, without cutting a character: a continuation begins with a space."""
    piece = ""
    for character in line:
        if len((piece + character).encode()) > ICS_OCTETS_MAX:
            yield piece
            piece = " "
        piece += character
    yield piece
