"""Makes the writes of an assessment in their order, and says what became of them.

Stops at the first failure: each write rests on the ones before. Nothing is retried here: the next look decides anew, on
fresh objects.
"""

from collections.abc import Callable
from dataclasses import dataclass

from prescaler.kube.client import WINDOWS, Kube, KubeError
from prescaler.kube.objects import Meta
from prescaler.window.assess import Write

REFUSALS = {400, 403, 404, 422}  # answers that waiting doesn't change
CONFLICT = 409


class LeadershipLostError(Exception):
    """Another replica acts by now; nothing more may be written."""


@dataclass(slots=True)
class Outcome:
    window: Meta  # as it is after the writes
    failure: KubeError | None = None
    set_minimum: bool = False
    replaced_drift: bool = False
    not_given_back: str | None = None  # a refusal that the writes after it didn't wait for


async def carry_out(kube: Kube, window: Meta, to_do: tuple[Write, ...], may_write: Callable[[], bool]) -> Outcome:
    """Raises LeadershipLostError, and nothing else."""
    outcome = Outcome(window)
    for write in to_do:
        if not may_write():
            raise LeadershipLostError
        try:
            seen = outcome.window if write.resource is WINDOWS else write.seen
            changed = await kube.patch(write.resource, seen, write.changes)
        except KubeError as error:
            if write.may_be_refused and error.status in REFUSALS:
                outcome.not_given_back = str(error)
                continue
            outcome.failure = error
            return outcome
        if write.resource is WINDOWS:
            outcome.window = changed.metadata
        outcome.set_minimum |= write.sets_minimum
        outcome.replaced_drift |= write.replaces_drift
    return outcome
