"""What a schedule is made of: windows of days, their daily peaks, ramps, and the days that differ.

Plain values, checked before they get here. Times of day are seconds of the local day.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from zoneinfo import ZoneInfo

from prescaler.plan.localtime import DAY_S


class Action(StrEnum):
    SKIP = "Skip"
    EXTEND = "Extend"
    OVERRIDE = "Override"
    OPEN = "Open"


@dataclass(frozen=True, slots=True)
class Ramp:
    duration_s: int = 0
    steps: int = 1


@dataclass(frozen=True, slots=True)
class Peak:
    start_s: int  # an end that isn't later is on the next day
    end_s: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Window:
    name: str
    from_day: int
    to_day: int
    replicas: int
    start_s: int = 0
    end_s: int = DAY_S
    peaks: tuple[Peak, ...] = ()


@dataclass(frozen=True, slots=True)
class Exemption:
    """What some calendar days do differently (`exceptions` in the resource)."""

    day: date
    action: Action
    until: date | None = None  # the new last day, of an Extend
    replicas: int | None = None  # of an Override or an Open
    to: date | None = None  # the last day of a range
    windows: tuple[str, ...] = ()  # only these; none named: all

    @property
    def last(self) -> date:
        return self.to or self.day

    def concerns(self, window: Window) -> bool:
        return self.action is not Action.OPEN and (not self.windows or window.name in self.windows)


@dataclass(frozen=True, slots=True)
class Schedule:
    baseline: int
    zones: tuple[ZoneInfo, ...]
    windows: tuple[Window, ...]
    lead_s: int = 0
    ramp_up: Ramp = Ramp()
    ramp_down: Ramp = Ramp()
    exemptions: tuple[Exemption, ...] = ()  # sorted by day, so that an extension can be extended

    @property
    def before_s(self) -> int:
        """How long before a start the first step is due."""
        return self.lead_s + self.ramp_up.duration_s

    @property
    def highest(self) -> int:
        """The most that any window, peak or exemption ever asks for."""
        asked = [
            replicas for window in self.windows for replicas in (window.replicas, *(p.replicas for p in window.peaks))
        ]
        return max([self.baseline, *asked, *(e.replicas for e in self.exemptions if e.replicas is not None)])
