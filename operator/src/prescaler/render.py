"""A plan for people and programs: a table in local times, JSON, a calendar, and what changes between two plans."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from operator import itemgetter
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
    zone = new.zones[0]
    asked = [0, 0]
    known: dict[datetime, tuple[int, ...]] = {}
    for at, which, replicas in sorted([*_steps(0, old, since, until), *_steps(1, new, since, until)]):
        asked[which] = replicas
        known[at] = tuple(asked)
    changes = [next(alike) for _, alike in groupby(known.items(), key=itemgetter(1))]
    for (start, (before, after)), (end, _) in pairwise([*changes, (until, ())]):
        if before != after:
            yield f"{_local(start, zone)} to {_local(end, zone)}: {before} -> {after} ({after - before:+d})"


def _steps(which: int, schedule: Schedule, since: datetime, until: datetime) -> Iterator[tuple[datetime, int, int]]:
    yield since, which, state_at(schedule, since).replicas
    for at, state in transitions(schedule, since + timedelta(seconds=1), until):
        yield at, which, state.replicas


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
