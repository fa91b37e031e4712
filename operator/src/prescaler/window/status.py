"""The status of a BillingWindow as types, read leniently: it is input like any other.

A status that somebody has broken counts as none: everything in it is found out again, but for the history.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from prescaler.kube.objects import BillingWindow


class _Part(Struct, rename="camel", omit_defaults=True):
    pass


class Condition(_Part, omit_defaults=False):
    type: str
    status: str
    observed_generation: int
    last_transition_time: datetime
    reason: str
    message: str


class Change(_Part):
    at: datetime
    min_replicas: int
    phase: str
    window: str | UnsetType = UNSET


class PeakRecord(_Part):
    window: str
    start: datetime
    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    peak_requests_per_second: str
    source: str


class ReadyTime(_Part):
    samples: int
    p50_seconds: int
    p99_seconds: int


class Run(_Part):
    """One window or peak, from the raise before it to its end."""

    window: str
    kind: str
    planned_start: datetime
    planned_end: datetime
    min_replicas: int
    raised_at: datetime | None = None
    ready_at_raise: int | None = None
    ready_at: datetime | None = None
    seconds_early: int | None = None
    actual_start: datetime | None = None
    ready_at_start: str | None = None
    peak_replicas: int | None = None
    warned_at: datetime | None = None
    warning: str | None = None

    @property
    def identity(self) -> tuple[str, str, datetime]:
        return self.window, self.kind, self.planned_start


class Status(_Part):
    observed_generation: int = 0
    phase: str | None = None
    window: str | None = None
    min_replicas: int | None = None
    applied_min_replicas: int | None = None
    ready: str | None = None
    next: str | None = None
    clock: str | None = None
    overwritten_at: datetime | None = None
    transitions: tuple[Change, ...] = ()
    replay: tuple[PeakRecord, ...] = ()
    ready_time: ReadyTime | None = None
    history: tuple[Run, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == kind), None)


def status_of(window: BillingWindow) -> Status:
    try:
        return msgspec.json.decode(window.raw_status, type=Status)
    except (msgspec.MsgspecError, OverflowError, ValueError):
        return Status()


def status_in(raw: object) -> Status:
    """The same of a status that has been decoded already."""
    try:
        return msgspec.convert(raw, Status)
    except (msgspec.MsgspecError, OverflowError, ValueError):
        return Status()


def difference(window: BillingWindow, new: Status) -> dict[str, Any]:
    """The merge patch that makes the window's status the new one; what is gone is null."""
    wanted: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(new))  # as it will be read
    previous = window.status
    if not isinstance(previous, dict):
        return wanted
    gone: dict[str, Any] = {name: None for name in previous if name not in wanted}
    return gone | {name: value for name, value in wanted.items() if previous.get(name) != value}
