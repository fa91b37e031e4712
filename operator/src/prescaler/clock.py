"""The time the plan is made for: the real one, or a rehearsal's.

A rehearsal clock runs at the normal speed from another moment, so that testers can see the 15th today. The tests set it
through the same door. Everything that shows a time says loudly that it is a rehearsal. Leases, deadlines of requests
and health go by the real clock.
"""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from prescaler.plan.localtime import YEARS
from prescaler.window.schema import InvalidSpecError
from prescaler.window.spec import seconds

OFFSET_VARIABLE = "PRESCALER_CLOCK_OFFSET"
START_VARIABLE = "PRESCALER_CLOCK_START"


def _real_now() -> datetime:
    return datetime.now(UTC)


class Clock:
    def __init__(self, offset: timedelta = timedelta(0), source: Callable[[], datetime] = _real_now) -> None:
        self.offset = offset
        self._source = source

    def now(self) -> datetime:
        return self._source() + self.offset

    def set(self, at: datetime) -> None:
        """From now on it is `at`."""
        self.offset = at - self._source()

    @property
    def rehearsal(self) -> str | None:
        """A sentence that doesn't change from second to second, because it is written into every status."""
        if not self.offset:
            return None
        direction = "ahead of" if self.offset > timedelta(0) else "behind"
        rounded = timedelta(seconds=round(abs(self.offset).total_seconds()))
        return f"REHEARSAL: the operator's clock is {rounded} {direction} the real one"


def from_environment(environment: Mapping[str, str] = os.environ) -> Clock:
    offset, start = environment.get(OFFSET_VARIABLE, ""), environment.get(START_VARIABLE, "")
    clock = Clock()
    if offset and start:
        raise InvalidSpecError(f"{OFFSET_VARIABLE} and {START_VARIABLE} are both set; keep one")
    if offset:
        try:
            length = timedelta(seconds=seconds(offset.lstrip("+-")))
            clock = Clock(-length if offset.startswith("-") else length)
            clock.now()  # a date that no calendar has is refused here
        except (InvalidSpecError, OverflowError) as error:
            raise InvalidSpecError(f"{OFFSET_VARIABLE}: {error}") from error
    if start:
        try:
            at = datetime.fromisoformat(start)
        except ValueError as error:
            raise InvalidSpecError(f"{START_VARIABLE}: `{start}` is not like 2026-12-14T18:00:00Z") from error
        clock.set(at if at.tzinfo else at.replace(tzinfo=UTC))
    if not YEARS[0] <= clock.now().year < YEARS[1]:
        raise InvalidSpecError(
            f"{OFFSET_VARIABLE}, {START_VARIABLE}: rehearse a time from {YEARS[0]} to {YEARS[1] - 1}"
        )
    return clock
