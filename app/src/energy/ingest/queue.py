"""Turns waiting readings into committed batches.

One commit per reading costs one disk flush per reading; one commit per batch shares it among everybody who is waiting (group
commit). A lane that becomes free takes whatever has queued meanwhile, so batches are small when it is quiet and grow by
themselves under load: there is no timer to tune. The three write strategies of the task are this one mechanism with
other numbers (`service.queue_limits`).

Knows nothing of HTTP or SQL. What a batch's rows mean is the store's business; what an outcome means to a client is the
API's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from energy import metrics
from energy.domain.reading import Outcome, Reading
from energy.ingest.committer import Committer

log = logging.getLogger(__name__)

_SMOOTHING = 0.1
"""Share of the newest batch in what a batch takes lately: one slow commit should not shed, ten should."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """A limit beside everything that can grow."""

    lanes: int = 2  # batches being written at the same time: one flushes while the next is parsed
    batch_rows_max: int = 1_000
    rows_max: int = 20_000  # ~10 MB of readings: what one pod may hold while the database restarts
    age_max_s: float = 2.0  # who would wait longer has given up: shedding early is kinder than answering late
    deadline_s: float = 10.0  # from being taken in to an answer, whatever happens
    linger_s: float = 0.0


class Overloaded(Exception):
    """The queue takes nothing more; nothing has been done for this reading. `reason` is a label of the shed metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Waiting(NamedTuple):
    reading: Reading
    outcome: asyncio.Future[Outcome]
    since: float


class IngestQueue:
    """A bounded queue with writer lanes. One per process and per ordering promise (`lanes=1`: never two writes at once)."""

    def __init__(self, committer: Committer, limits: QueueLimits, clock: Callable[[], float]) -> None:
        self._committer = committer
        self.limits = limits
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._draining = False
        self._batch_s = 0.0  # how long a batch took lately
        self._lanes: list[asyncio.Task[None]] = []
        self._writing: set[UUID] = set()  # devices whose readings a lane is writing just now

    def start(self) -> None:
        """Starts the lanes on the running event loop."""
        self._lanes = [asyncio.create_task(self._lane(), name=f"lane-{n}") for n in range(self.limits.lanes)]

    @property
    def rows(self) -> int:
        """Readings waiting now."""
        return len(self._waiting)

    @property
    def age_s(self) -> float:
        """How long the oldest has been waiting."""
        return self._clock() - self._waiting[0].since if self._waiting else 0.0

    def refusal(self) -> str | None:
        """Why nothing would be taken in now, or nothing: a label of the shed metric."""
        if not self._waiting:
            return "draining" if self._draining else None
        if self._draining:
            return "draining"
        if len(self._waiting) >= self.limits.rows_max:
            return "queue_full"
        return "queue_old" if max(self.age_s, self._wait_s) > self.limits.age_max_s else None

    @property
    def _wait_s(self) -> float:
        """What a reading taken in now would wait for the full batches ahead of it.

        The age of the oldest says it too late: what came in while it aged has to be worked off as well. Batches that are
        not full count nothing, so what many small ones took in the quiet says nothing against a burst.
        """
        return len(self._waiting) // (self.limits.batch_rows_max * self.limits.lanes) * self._batch_s

    def submit(self, reading: Reading) -> asyncio.Future[Outcome]:
        """Takes a reading in; the future has its outcome by the deadline. Raises `Overloaded` before any work is done."""
        refused = self.refusal()
        if refused is not None:
            raise Overloaded(refused)
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(reading, outcome, self._clock()))
        self._arrived.set()
        return outcome

    async def drain(self) -> None:
        """Takes nothing more in and returns when everything that waited has its outcome, which is by its deadline."""
        self._draining = True
        self._arrived.set()
        await asyncio.gather(*self._lanes)

    async def _lane(self) -> None:
        while await self._something_waits():
            if self.limits.linger_s and not self._draining:  # waiting for a lane was waiting for company
                await asyncio.sleep(max(self.limits.linger_s - self.age_s, 0))
            batch = self._take()
            if batch:
                await self._write(batch)
            elif self._waiting:  # only for devices that another lane is writing: that one will say when it is through
                self._arrived.clear()
                await self._arrived.wait()

    async def _write(self, batch: list[_Waiting]) -> None:
        devices = {waiting.reading.device_id for waiting in batch}
        self._writing |= devices
        await self._settle(batch)
        self._writing -= devices
        self._arrived.set()

    async def _something_waits(self) -> bool:
        while not self._waiting:
            if self._draining:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        return True

    def _take(self) -> list[_Waiting]:
        """The next batch. A device's readings are never in two lanes at once: each is compared with the one before it."""
        batch: list[_Waiting] = []
        held: list[_Waiting] = []
        while self._waiting and len(batch) < self.limits.batch_rows_max and len(held) < self.limits.batch_rows_max:
            waiting = self._waiting.popleft()
            (held if waiting.reading.device_id in self._writing else batch).append(waiting)
        self._waiting.extendleft(reversed(held))
        return batch

    async def _settle(self, batch: list[_Waiting]) -> None:
        metrics.BATCH_ROWS.observe(len(batch))
        began = self._clock()
        try:
            outcomes = await self._committer.commit(
                [waiting.reading for waiting in batch], batch[0].since + self.limits.deadline_s
            )
        except Exception as error:  # a defect of ours must cost this batch its answer, not the lane its life
            log.exception("a batch of %d readings was not settled", len(batch))
            for waiting in batch:
                if not waiting.outcome.done():
                    waiting.outcome.set_exception(error)
            return
        self._batch_s += (self._clock() - began - self._batch_s) * _SMOOTHING
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if not waiting.outcome.done():  # a client that hung up has cancelled its own
                waiting.outcome.set_result(outcome)
