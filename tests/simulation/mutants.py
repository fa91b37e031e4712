"""The intake with one promise broken on purpose: the simulation has to find each of them, or it proves nothing.

Never part of the product. A mutant is a method of the queue or the committer to put in place of the real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from energy.domain.reading import Committed, Outcome, Reading, Undecided, Unstorable
from energy.ingest.committer import AtomicCommitter, Committer
from energy.ingest.queue import IngestQueue
from energy.store.ports import Poisoned
from simulation.world import PERIOD

Mutant = tuple[type, str, Callable[..., Any] | property]
_take = IngestQueue._take
_settle = Committer._settle
_settle_batch = IngestQueue._settle
_refusal = IngestQueue.refusal
_commit = Committer.commit


def answers_before_the_commit() -> Mutant:
    """201 as soon as the batch is on its way."""

    async def settle(self: Committer, batch: Sequence[Reading], deadline: float, **more: bool) -> list[Outcome]:
        writing = asyncio.ensure_future(_settle(self, batch, deadline, **more))
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        return [Committed(PERIOD, ()) for _ in batch]

    return Committer, "_settle", settle


def acknowledges_the_unknown() -> Mutant:
    """201 when the deadline has passed without an outcome."""

    async def settle(self: Committer, batch: Sequence[Reading], deadline: float, **more: bool) -> list[Outcome]:
        outcomes = await _settle(self, batch, deadline, **more)
        return [Committed(PERIOD, ()) if isinstance(outcome, Undecided) else outcome for outcome in outcomes]

    return Committer, "_settle", settle


def forgets_what_may_be_stored() -> Mutant:
    """'Not stored' although a write had reached the database."""

    async def settle(self: Committer, batch: Sequence[Reading], deadline: float, **more: bool) -> list[Outcome]:
        outcomes = await _settle(self, batch, deadline, **more)
        return [Undecided(maybe_stored=False) if isinstance(outcome, Undecided) else outcome for outcome in outcomes]

    return Committer, "_settle", settle


def ignores_the_deadline() -> Mutant:
    """Tries on as long as it takes."""

    async def settle(self: Committer, batch: Sequence[Reading], deadline: float, **more: bool) -> list[Outcome]:
        return await _settle(self, batch, deadline + 60, **more)

    return Committer, "_settle", settle


def lets_a_bad_row_spoil_its_batch() -> Mutant:
    """What one row is refused for is said of all."""

    async def halves(
        _self: Committer, batch: Sequence[Reading], error: Poisoned, _deadline: float, **_more: bool
    ) -> list[Outcome]:
        return [Unstorable(str(error))] * len(batch)

    return Committer, "_settle_halves", halves


def drops_half_of_a_bad_batch() -> Mutant:
    """The second half is never tried."""

    async def halves(
        self: Committer, batch: Sequence[Reading], error: Poisoned, deadline: float, *, maybe_stored: bool
    ) -> list[Outcome]:
        if len(batch) == 1:
            return [Unstorable(str(error))]
        middle = len(batch) // 2
        first = await self._settle(batch[:middle], deadline, maybe_stored=maybe_stored)
        return [*first, *[Committed(PERIOD, ()) for _ in batch[middle:]]]

    return Committer, "_settle_halves", halves


def does_not_fold_repeats() -> Mutant:
    """The same id goes to the database twice in one batch."""

    async def commit(self: Committer, readings: Sequence[Reading], deadline: float) -> list[Outcome]:
        return await self._settle(readings, deadline)

    return Committer, "commit", commit


def halves_an_atomic_batch() -> Mutant:
    """Its good rows are stored without the bad one."""

    async def commit(self: AtomicCommitter, readings: Sequence[Reading], deadline: float) -> list[Outcome]:
        self._atomic = False
        return await _commit(self, readings, deadline)

    return AtomicCommitter, "commit", commit


def calls_a_repeat_new() -> Mutant:
    """201 and not 200 for what was stored before."""

    async def settle(self: Committer, batch: Sequence[Reading], deadline: float, **more: bool) -> list[Outcome]:
        outcomes = await _settle(self, batch, deadline, **more)
        return [replace(outcome, replayed=False) if isinstance(outcome, Committed) else outcome for outcome in outcomes]

    return Committer, "_settle", settle


def swaps_outcomes() -> Mutant:
    """Each hears what became of somebody else's."""

    async def commit(self: Committer, readings: Sequence[Reading], deadline: float) -> list[Outcome]:
        return list(reversed(await _commit(self, readings, deadline)))

    return Committer, "commit", commit


def takes_the_newest_first() -> Mutant:
    """Last in, first out."""

    def take(self: IngestQueue) -> Any:
        self._waiting.reverse()
        batch = _take(self)
        self._waiting.reverse()
        return batch

    return IngestQueue, "_take", take


def writes_a_device_in_two_lanes() -> Mutant:
    """A free lane takes whatever waits."""

    def take(self: IngestQueue) -> Any:
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), self.limits.batch_rows_max))]

    return IngestQueue, "_take", take


def tells_nobody_that_a_device_is_free() -> Mutant:
    """Whoever waits for it goes on waiting."""

    async def write(self: IngestQueue, batch: Any) -> None:
        devices = {waiting.reading.device_id for waiting in batch}
        self._writing |= devices
        await self._settle(batch)
        self._writing -= devices

    return IngestQueue, "_write", write


def drops_what_waits_at_the_drain() -> Mutant:
    """The lanes end at once."""

    async def something_waits(self: IngestQueue) -> bool:
        while not self._waiting and not self._draining:
            self._arrived.clear()
            await self._arrived.wait()
        return not self._draining

    return IngestQueue, "_something_waits", something_waits


def sleeps_through_a_wake_up() -> Mutant:
    """Clears the signal before it looks."""

    async def something_waits(self: IngestQueue) -> bool:
        if not self._draining:
            self._arrived.clear()
            await self._arrived.wait()
        return bool(self._waiting) or not self._draining

    return IngestQueue, "_something_waits", something_waits


def looks_now_and_then() -> Mutant:
    """Nobody wakes the lane: it sleeps for a while and looks again."""

    async def something_waits(self: IngestQueue) -> bool:
        while not self._waiting:
            if self._draining:
                return False
            await asyncio.sleep(0.01)
        return True

    return IngestQueue, "_something_waits", something_waits


def takes_in_while_draining() -> Mutant:
    """Nobody is left to write it."""

    def refusal(self: IngestQueue) -> str | None:
        refused = _refusal(self)
        return None if refused == "draining" else refused

    return IngestQueue, "refusal", refusal


def has_no_bound() -> Mutant:
    """Takes in whatever comes."""

    def refusal(self: IngestQueue) -> str | None:
        return "draining" if self._draining else None

    return IngestQueue, "refusal", refusal


def starts_a_lane_too_many() -> Mutant:
    """Two writes in flight where one was promised."""

    def start(self: IngestQueue) -> None:
        self._lanes = [asyncio.create_task(self._lane()) for _ in range(self.limits.lanes + 1)]

    return IngestQueue, "start", start


def uses_every_lane_always() -> Mutant:
    """However quick the database is."""

    def may_write(_self: IngestQueue) -> bool:
        return True

    return IngestQueue, "_may_write", property(may_write)


def leaves_answers_behind_at_the_drain() -> Mutant:
    """The lanes have ended, and some answers are still to be given."""

    async def drain(self: IngestQueue) -> None:
        self._draining = True
        self._arrived.set()
        await asyncio.gather(*self._lanes)

    return IngestQueue, "drain", drain


def answers_whoever_hung_up() -> Mutant:
    """Which is an error, and ends the lane."""

    async def settle(self: IngestQueue, batch: Any) -> None:
        outcomes = await self._committer.commit(
            [waiting.reading for waiting in batch], batch[0].since + self.limits.deadline_s
        )
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.outcome.set_result(outcome)

    return IngestQueue, "_settle", settle


def answers_only_the_first_of_a_batch() -> Mutant:
    """The others wait for ever."""

    async def settle(self: IngestQueue, batch: Any) -> None:
        await _settle_batch(self, batch[:1])

    return IngestQueue, "_settle", settle


def lingers_when_late() -> Mutant:
    """Waits for company although the oldest has waited for a lane already."""

    async def lane(self: IngestQueue) -> None:
        while await self._something_waits():
            if self.limits.linger_s and not self._draining:
                await asyncio.sleep(self.limits.linger_s)
            batch = self._take()
            if batch:
                await self._write(batch)
            elif self._waiting:
                self._arrived.clear()
                await self._arrived.wait()

    return IngestQueue, "_lane", lane


@contextmanager
def in_place(mutant: Callable[[], Mutant]) -> Iterator[None]:
    """The intake is that mutant meanwhile."""
    of, name, instead = mutant()
    with mock.patch.object(of, name, instead):
        yield
