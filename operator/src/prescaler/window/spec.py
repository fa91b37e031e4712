"""What a user declared: the `spec` of a BillingWindow, checked and turned into a Schedule and its policies.

`schema` has checked the structure by the time anything here looks at a value; what is left is what no schema can say, such
as whether a time zone exists. A mistake is one sentence that says where it is. Knows nothing of HPAs or of the time.
"""

import re
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct, field

from prescaler.plan.schedule import Action, Exemption, Peak, Ramp, Schedule, Window
from prescaler.window.manifest import documents
from prescaler.window.schema import InvalidSpecError, checked

EXCEPTIONS_BYTES_MAX = 256 * 1024
_DURATION = re.compile(r"(?=.)(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")


class DriftPolicy(StrEnum):
    RAISE = "Raise"
    ENFORCE = "Enforce"


class MaxReplicasPolicy(StrEnum):
    CLAMP = "Clamp"
    FAIL = "Fail"


class Mode(StrEnum):
    ACTIVE = "Active"
    PREVIEW = "Preview"
    SUSPENDED = "Suspended"


class _Doc(Struct, rename="camel"):
    """Limits and defaults stand in crd.yaml; what has neither there may be absent here."""


class TargetRef(_Doc):
    kind: str
    name: str


class Baseline(_Doc):
    min_replicas: int


class RampDoc(_Doc):
    duration: str
    steps: int


class Demand(_Doc):
    requests_per_second: int
    requests_per_second_per_pod: int
    headroom: str


class PeakDoc(_Doc):
    start: str = field(name="from")
    to: str
    min_replicas: int | None = None
    demand: Demand | None = None


class WindowDoc(_Doc):
    name: str
    from_day: int
    to_day: int
    start_time: str
    end_time: str
    min_replicas: int | None = None
    demand: Demand | None = None
    peaks: tuple[PeakDoc, ...] = ()


class ExceptionDoc(_Doc):
    day: date = field(name="date")
    action: Action
    to: date | None = None
    until: date | None = None
    min_replicas: int | None = None
    windows: tuple[str, ...] = ()


class ExceptionsFrom(_Doc):
    config_map: str
    key: str


class Capacity(_Doc):
    nodes: str


class Replay(_Doc):
    url: str
    query: str
    requests_per_second_per_pod: int
    headroom: str
    max_min_replicas: int | None = None


class Spec(_Doc):
    target_ref: TargetRef
    baseline: Baseline
    time_zones: tuple[str, ...]
    windows: tuple[WindowDoc, ...]
    lead_time: str
    ramp_up: RampDoc
    ramp_down: RampDoc
    drift_policy: DriftPolicy
    max_replicas_policy: MaxReplicasPolicy
    mode: Mode
    capacity: Capacity
    exceptions: tuple[ExceptionDoc, ...] = ()
    exceptions_from: ExceptionsFrom | None = None
    exceptions_reach: str | None = None
    replay: Replay | None = None

    @property
    def lead_s(self) -> int:
        return seconds(self.lead_time)

    @property
    def target(self) -> tuple[str, str]:
        return self.target_ref.kind, self.target_ref.name

    def weight(self, listed: int) -> int:
        """About how many steps and exceptions its plan has to go through, `listed` exceptions of a ConfigMap included."""
        days = sum(1 + 31 * len(window.peaks) for window in self.windows)
        steps = self.ramp_up.steps + self.ramp_down.steps
        return len(self.time_zones) * (days * steps + len(self.windows) * (len(self.exceptions) + listed))

    def schedule(self, more: Sequence[ExceptionDoc] = (), floors: dict[str, int] | None = None) -> Schedule:
        """What the planner needs; `more` exceptions come from a ConfigMap, `floors` per window from the replay."""
        known = floors or {}
        return Schedule(
            baseline=self.baseline.min_replicas,
            zones=tuple(_zone(name) for name in self.time_zones),
            windows=tuple(_window(doc, i, known.get(doc.name, 0)) for i, doc in enumerate(self.windows)),
            lead_s=self.lead_s,
            ramp_up=Ramp(seconds(self.ramp_up.duration), self.ramp_up.steps),
            ramp_down=Ramp(seconds(self.ramp_down.duration), self.ramp_down.steps),
            exemptions=tuple(sorted((_exemption(e) for e in (*self.exceptions, *more)), key=lambda e: e.day)),
        )


def parse(raw: object, *, rules: bool = False) -> Spec:
    """Raises InvalidSpecError. `rules`: also check what the API server enforces by rules (CEL), as for a file."""
    filled = checked(raw, "spec", rules=rules)
    spec: Spec = _typed(filled, Spec, "spec")
    spec.schedule()
    return spec


def parse_exceptions(text: str, *, rules: bool = False) -> tuple[ExceptionDoc, ...]:
    """The list in a ConfigMap's key."""
    if len(text) > EXCEPTIONS_BYTES_MAX:
        raise InvalidSpecError(f"exceptions: the list is longer than {EXCEPTIONS_BYTES_MAX} characters")
    read = documents(text, "exceptions")
    if len(read) > 1:
        raise InvalidSpecError(f"exceptions: holds {len(read)} YAML documents; exactly one is needed")
    listed = checked(read[0] if read else [], "exceptions", rules=rules)
    found: tuple[ExceptionDoc, ...] = _typed(listed, tuple[ExceptionDoc, ...], "exceptions")
    for exception in found:
        _exemption(exception)
    return found


def replicas_for(requests_per_second: Fraction, per_pod: int, headroom: str) -> int:
    """Fractions, because 1.1 x 100 / 10 is 11 pods and a float would make it 12."""
    return max(1, -(-requests_per_second * Fraction(headroom) // per_pod))


def seconds(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidSpecError(f"`{text:.40}` is not a duration; write it as 30m, 1h15m or 90s")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _typed(raw: object, to: Any, where: str) -> Any:
    try:
        return msgspec.convert(raw, to)
    except (msgspec.ValidationError, OverflowError) as error:
        raise InvalidSpecError(f"{where}: {error}") from error


def _seconds_of_day(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a name that is a directory
        raise InvalidSpecError(
            f"spec.timeZones: there is no time zone `{name}`; names look like Europe/Moscow or Asia/Yekaterinburg"
        ) from error


def _target(doc: WindowDoc | PeakDoc, where: str) -> int:
    if doc.demand is not None and doc.min_replicas is None:
        rate = Fraction(doc.demand.requests_per_second)
        return replicas_for(rate, doc.demand.requests_per_second_per_pod, doc.demand.headroom)
    if doc.demand is None and doc.min_replicas is not None:
        return doc.min_replicas
    raise InvalidSpecError(f"{where}: say how much is needed in exactly one way, minReplicas or demand")


def _window(doc: WindowDoc, index: int, floor: int) -> Window:
    where = f"spec.windows[{index}]"
    peaks = tuple(
        Peak(_seconds_of_day(p.start), _seconds_of_day(p.to), _target(p, f"{where}.peaks[{i}]"))
        for i, p in enumerate(doc.peaks)
    )
    start_s, end_s = _seconds_of_day(doc.start_time), _seconds_of_day(doc.end_time)
    return Window(doc.name, doc.from_day, doc.to_day, max(_target(doc, where), floor), start_s, end_s, peaks)


def _exemption(doc: ExceptionDoc) -> Exemption:
    """A list in a ConfigMap has met no API server, so what crd.yaml says by rules is checked here too."""
    if (doc.action is Action.EXTEND) != (doc.until is not None):
        raise InvalidSpecError(f"exception of {doc.day}: until goes with action Extend, and only with it")
    if (doc.action in {Action.OVERRIDE, Action.OPEN}) != (doc.min_replicas is not None):
        raise InvalidSpecError(f"exception of {doc.day}: minReplicas goes with the actions Override and Open")
    if max(doc.day, doc.until or doc.day) != (doc.until or doc.day) or (doc.to is not None and doc.to < doc.day):
        raise InvalidSpecError(f"exception of {doc.day}: it ends before it begins")
    return Exemption(doc.day, doc.action, doc.until, doc.min_replicas, doc.to, doc.windows)
