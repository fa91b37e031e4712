"""What a user declared: the `spec` of a BillingWindow, checked and turned into a Schedule and its policies.

The API server has applied the schema before the operator sees a spec; the CLI reads files that no server has seen. Both
go through here, and a mistake is one sentence that says where it is. Knows nothing of HPAs or of the time.
"""

import re
from datetime import date
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import yaml
from msgspec import Meta, Struct, field

from prescaler.plan import Action, Exemption, Peak, Ramp, Schedule, Window

_DURATION = re.compile(r"(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|(24):(00)")
Replicas = Annotated[int, Meta(ge=1, le=10_000)]
Positive = Annotated[int, Meta(ge=1)]
Duration = str  # these two are checked where they are read, for a better message than a pattern's
Clock = str
Factor = Annotated[str, Meta(pattern=r"^[1-9]\d*(\.\d+)?$")]
Day = Annotated[int, Meta(ge=1, le=31)]


class InvalidSpecError(ValueError):
    """The message says what is wrong, where, and what to write instead."""


class DriftPolicy(StrEnum):
    RAISE = "Raise"
    ENFORCE = "Enforce"
    YIELD = "Yield"


class MaxReplicasPolicy(StrEnum):
    CLAMP = "Clamp"
    RAISE = "Raise"
    FAIL = "Fail"


class Mode(StrEnum):
    ACTIVE = "Active"
    PREVIEW = "Preview"


class _Doc(Struct, rename="camel", forbid_unknown_fields=True):
    pass


class TargetRef(_Doc):
    name: str


class Baseline(_Doc):
    min_replicas: Replicas


class RampDoc(_Doc):
    duration: Duration = "0s"
    steps: Annotated[int, Meta(ge=1, le=100)] = 1


class Demand(_Doc):
    requests_per_second: Positive
    requests_per_second_per_pod: Positive
    headroom: Factor = "1"


class PeakDoc(_Doc):
    start: Clock = field(name="from")
    to: Clock
    min_replicas: Replicas | None = None
    demand: Demand | None = None


class WindowDoc(_Doc):
    name: str
    from_day: Day
    to_day: Day
    start_time: Clock = "00:00"
    end_time: Clock = "24:00"
    min_replicas: Replicas | None = None
    demand: Demand | None = None
    peaks: tuple[PeakDoc, ...] = ()


class ExceptionDoc(_Doc):
    day: date = field(name="date")
    action: Action
    until: date | None = None
    min_replicas: Replicas | None = None


class ExceptionsFrom(_Doc):
    config_map: str
    key: str = "exceptions.yaml"


class Capacity(_Doc):
    nodes: str = "Check"
    database_connections_per_pod: Positive | None = None
    database_connections_max: Positive | None = None


class Replay(_Doc):
    url: str
    query: str
    requests_per_second_per_pod: Positive
    headroom: Factor = "1"
    max_min_replicas: Replicas | None = None


class Spec(_Doc):
    target_ref: TargetRef
    baseline: Baseline
    time_zones: Annotated[tuple[str, ...], Meta(min_length=1)]
    windows: Annotated[tuple[WindowDoc, ...], Meta(min_length=1)]
    lead_time: Duration = "30m"
    ramp_up: RampDoc = field(default_factory=RampDoc)
    ramp_down: RampDoc = field(default_factory=RampDoc)
    exceptions: tuple[ExceptionDoc, ...] = ()
    exceptions_from: ExceptionsFrom | None = None
    drift_policy: DriftPolicy = DriftPolicy.RAISE
    max_replicas_policy: MaxReplicasPolicy = MaxReplicasPolicy.CLAMP
    max_replicas_ceiling: Replicas | None = None
    mode: Mode = Mode.ACTIVE
    suspend: bool = False
    capacity: Capacity = field(default_factory=Capacity)
    replay: Replay | None = None

    def schedule(self, more: tuple[ExceptionDoc, ...] = (), floors: dict[str, int] | None = None) -> Schedule:
        """What the planner needs; `more` exceptions come from a ConfigMap, `floors` per window from the replay."""
        known = floors or {}
        return Schedule(
            baseline=self.baseline.min_replicas,
            zones=tuple(_zone(name) for name in self.time_zones),
            windows=tuple(_window(doc, i, known.get(doc.name, 0)) for i, doc in enumerate(self.windows)),
            lead_s=seconds(self.lead_time),
            ramp_up=Ramp(seconds(self.ramp_up.duration), self.ramp_up.steps),
            ramp_down=Ramp(seconds(self.ramp_down.duration), self.ramp_down.steps),
            exemptions=tuple(sorted((_exemption(e) for e in (*self.exceptions, *more)), key=lambda e: e.day)),
        )


def parse(raw: object) -> Spec:
    """Raises InvalidSpecError. Everything that can be known without the cluster is checked here, once."""
    spec: Spec = _convert(raw, Spec, "spec")
    if spec.max_replicas_policy is MaxReplicasPolicy.RAISE and spec.max_replicas_ceiling is None:
        raise InvalidSpecError("spec.maxReplicasPolicy: Raise needs maxReplicasCeiling, the most it may be raised to")
    names = [window.name for window in spec.windows]
    if len(set(names)) < len(names):
        raise InvalidSpecError("spec.windows: two windows have the same name")
    spec.schedule()
    return spec


def parse_exceptions(text: str) -> tuple[ExceptionDoc, ...]:
    """The list in a ConfigMap's key."""
    try:
        documents = yaml.safe_load(text) or []
    except yaml.YAMLError as error:
        raise InvalidSpecError(f"exceptionsFrom: the list isn't YAML: {error}") from error
    found: tuple[ExceptionDoc, ...] = _convert(documents, tuple[ExceptionDoc, ...], "exceptions")
    for exception in found:
        _exemption(exception)
    return found


def load(path: Path) -> tuple[str, Spec]:
    """The name and the spec of the one BillingWindow in a YAML file, as `kubectl apply` would take it."""
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpecError(f"{path}: can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise InvalidSpecError(f"{path}: isn't YAML: {error}") from error
    found = [d for d in documents if isinstance(d, dict) and d.get("kind") == "BillingWindow"]
    if len(found) != 1:
        raise InvalidSpecError(f"{path}: holds {len(found)} objects of kind BillingWindow; exactly one is needed")
    metadata = found[0].get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    try:
        return str(name or path.stem), parse(found[0].get("spec"))
    except InvalidSpecError as error:
        raise InvalidSpecError(f"{path}: {error}") from error


def replicas_for(requests_per_second: Fraction, per_pod: int, headroom: str) -> int:
    """Fractions, because 1.1 x 100 / 10 is 11 pods and a float would make it 12."""
    return max(1, -(-requests_per_second * Fraction(headroom) // per_pod))


def seconds_of_day(text: str) -> int:
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise InvalidSpecError(f"`{text}` is not a time of day; write it as 09:30, up to 24:00")
    hours, minutes = (int(part) for part in match.groups() if part is not None)
    return hours * 3600 + minutes * 60


def _convert(raw: object, to: Any, where: str) -> Any:
    try:
        return msgspec.convert(raw, to)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at `$")
        raise InvalidSpecError(f"{where}{path.rstrip('`')}: {sentence}") from error


def seconds(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidSpecError(f"`{text}` is not a duration; write it as 30m, 1h15m or 90s")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a name that is a directory
        raise InvalidSpecError(
            f"spec.timeZones: there is no time zone `{name}`; names look like Europe/Moscow or Asia/Yekaterinburg"
        ) from error


def _target(doc: WindowDoc | PeakDoc, where: str) -> int:
    if (doc.min_replicas is None) == (doc.demand is None):
        raise InvalidSpecError(f"{where}: say how much is needed in exactly one way, minReplicas or demand")
    if doc.demand is None:
        return doc.min_replicas or 0
    rate = Fraction(doc.demand.requests_per_second)
    return replicas_for(rate, doc.demand.requests_per_second_per_pod, doc.demand.headroom)


def _window(doc: WindowDoc, index: int, floor: int) -> Window:
    where = f"spec.windows[{index}]"
    start_s, end_s = seconds_of_day(doc.start_time), seconds_of_day(doc.end_time)
    if doc.from_day == doc.to_day and start_s >= end_s:
        raise InvalidSpecError(f"{where}: a window of one day needs an endTime later than its startTime")
    peaks = tuple(
        Peak(seconds_of_day(p.start), seconds_of_day(p.to), _target(p, f"{where}.peaks[{i}]"))
        for i, p in enumerate(doc.peaks)
    )
    return Window(doc.name, doc.from_day, doc.to_day, max(_target(doc, where), floor), start_s, end_s, peaks)


def _exemption(doc: ExceptionDoc) -> Exemption:
    if (doc.action is Action.EXTEND) != (doc.until is not None):
        raise InvalidSpecError(f"exception of {doc.day}: until goes with action Extend, and only with it")
    if (doc.action is Action.OVERRIDE) != (doc.min_replicas is not None):
        raise InvalidSpecError(f"exception of {doc.day}: minReplicas goes with action Override, and only with it")
    if doc.until is not None and doc.until < doc.day:
        raise InvalidSpecError(f"exception of {doc.day}: until ({doc.until}) is before it")
    return Exemption(doc.day, doc.action, doc.until, doc.min_replicas)
