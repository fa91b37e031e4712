"""What pods did around a window's start, as numbers: how many were Ready when, and what they cost.

Times are seconds from the window's start, so negative ones lie before it. Knows nothing of Kubernetes or of who scaled.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Pod(Enum):
    """What is known of one pod; whoever ends is told once more as GONE."""

    STARTING = "starting"
    READY = "ready"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Sight:
    """A pod was seen in a state, which it keeps until the next sight of it."""

    at_s: float
    pod: str
    state: Pod


@dataclass(frozen=True, slots=True)
class Step:
    """From `at_s` on there are this many pods, and so many of them Ready."""

    at_s: float
    pods: int
    ready: int


def steps(sights: Iterable[Sight]) -> list[Step]:
    """The changes of the two numbers, in order."""
    states: dict[str, Pod] = {}
    found: list[Step] = []
    for sight in sorted(sights, key=lambda sight: sight.at_s):
        states[sight.pod] = sight.state
        pods = sum(state is not Pod.GONE for state in states.values())
        ready = sum(state is Pod.READY for state in states.values())
        if found and found[-1].at_s == sight.at_s:
            found.pop()
        if not found or (pods, ready) != (found[-1].pods, found[-1].ready):
            found.append(Step(sight.at_s, pods, ready))
    return found


def ready_at(found: list[Step], at_s: float) -> int:
    return next((step.ready for step in reversed(found) if step.at_s <= at_s), 0)


def all_ready_s(found: list[Step], wanted: int) -> float | None:
    """When `wanted` pods were Ready for the first time; None: never."""
    return next((step.at_s for step in found if step.ready >= wanted), None)


def replica_seconds(found: list[Step], since_s: float, until_s: float) -> float:
    """How long pods existed in that time, all added up: what is paid for, Ready or not."""
    edges = [*found, Step(until_s, 0, 0)][1:]
    spans = (
        (step.pods, max(step.at_s, since_s), min(end.at_s, until_s)) for step, end in zip(found, edges, strict=True)
    )
    return sum(pods * max(0.0, to_s - from_s) for pods, from_s, to_s in spans)
