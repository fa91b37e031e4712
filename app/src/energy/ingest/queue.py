"""Turns waiting readings into committed batches.

One commit per reading costs one disk flush per reading; one commit per batch shares it among everybody who is waiting (group
commit). A lane that becomes free takes whatever has queued meanwhile, so batches are small when it is quiet and grow by
themselves under load: there is no timer to tune. The three write strategies of the task are this one mechanism with
other numbers (`service.queue_limits`).

How many lanes are in use follows from what is measured. Beside a database that is near, a second batch under way only makes
both smaller, and each costs the database as much as a dozen readings; where a commit waits for a network or a standby, a
reading would wait for a lane nearly as long as for its commit. By Little's law (docs/adr/0009) the lanes that pay are the time
that a batch waits over the time between two batches, and that is a constant. All lanes are in use when whole batches wait, or
when somebody has waited for long: a write that hangs holds up nobody.

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

from energy import metrics
from energy.domain.reading import Outcome, Reading
from energy.ingest.committer import Committer

log = logging.getLogger(__name__)

_SMOOTHING = 0.1
"""Share of the newest batch in what a batch takes lately: one slow commit should not shed, ten should."""

_PACE_S = 0.001
"""A batch that leaves sooner after the last one saves its readings less time than it costs the database."""
_ROW_S = 0.00004
"""What a row takes at most where commits are quick. The rest of a batch's time is waiting, which lanes share."""
_FORGETTING = 0.02
"""How fast a longer wait is believed; a shorter one is at once, for it was possible."""
_PATIENCE_S = 0.1
"""Who has waited for this long does not wait for a lane's turn any more."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """A limit beside everything that can grow."""

    lanes: int = 2  # the most batches being written at the same time
    batch_rows_max: int = 1_000
    rows_max: int = 20_000  # ~10 MB of readings: what one pod may hold while the database restarts
    age_max_s: float = 2.0  # who would wait longer has given up: shedding early is kinder than answering late
    deadline_s: float = 10.0  # from being taken in to an answer, whatever happens
    linger_s: float = 0.0
    answers_at_once: int = 32  # between which the loop does something else: whoever is refused should know it soon


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
        self._away_s = 0.0  # how much of that was waiting
        self._lanes: list[asyncio.Task[None]] = []
        self._answering: set[asyncio.Task[None]] = set()
        self._busy = 0  # lanes in use
        self._impatience: asyncio.TimerHandle | None = None
        self._writing: set[int] = set()  # devices whose readings a lane is writing just now

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
        if self._may_write:
            self._arrived.set()
        elif self._impatience is None:
            self._arm(outcome.get_loop())
        return outcome

    @property
    def _may_write(self) -> bool:
        """Whether one lane more is worth using for what waits."""
        return (
            self._busy < max(1, self._away_s // _PACE_S)
            or len(self._waiting) >= self.limits.batch_rows_max
            or self.age_s >= _PATIENCE_S
        )

    def _lose_patience(self) -> None:
        self._impatience = None
        if self._waiting and self.age_s < _PATIENCE_S:  # the one that it was for has been taken
            self._arm(asyncio.get_running_loop())
        else:
            self._arrived.set()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """A little late, so that the oldest is certainly of age, whatever the clock rounds."""
        self._impatience = loop.call_later(_PATIENCE_S * 1.01, self._lose_patience)

    async def drain(self) -> None:
        """Takes nothing more in and returns when everything that waited has its outcome, which is by its deadline."""
        self._draining = True
        self._arrived.set()
        await asyncio.gather(*self._lanes)
        await asyncio.gather(*self._answering)

    async def _lane(self) -> None:
        while await self._something_waits():
            if self.limits.linger_s and not self._draining:  # waiting for a lane was waiting for company
                await asyncio.sleep(max(self.limits.linger_s - self.age_s, 0))
            batch = self._take() if self._may_write else []
            if batch:
                self._busy += 1
                await self._write(batch)
                self._busy -= 1
            elif self._waiting:  # only for devices that another lane is writing: that one will say when it is through
                self._arrived.clear()
                await self._arrived.wait()

    async def _write(self, batch: list[_Waiting]) -> None:
        devices = {waiting.reading.device_id.int for waiting in batch}
        self._writing |= devices
        await self._settle(batch)
        self._writing -= devices
        self._arrived.set()

    async def _something_waits(self) -> bool:
        """Until a lane has something to write; false when it never will."""
        while not self._waiting or not self._may_write:
            if self._draining and not self._waiting:
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
            (held if waiting.reading.device_id.int in self._writing else batch).append(waiting)
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
        took_s = self._clock() - began
        self._batch_s += (took_s - self._batch_s) * _SMOOTHING
        away_s = max(took_s - len(batch) * _ROW_S, 0.0)
        self._away_s = min(away_s, self._away_s + (away_s - self._away_s) * _FORGETTING) if self._away_s else away_s
        if len(batch) <= self.limits.answers_at_once:
            _answer(batch, outcomes)
        else:  # the lane goes on meanwhile: the database should not wait for answers
            task = asyncio.create_task(self._answer_in_turns(batch, outcomes), name="answers")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer_in_turns(self, batch: list[_Waiting], outcomes: list[Outcome]) -> None:
        step = self.limits.answers_at_once
        for first in range(0, len(batch), step):
            _answer(batch[first : first + step], outcomes[first : first + step])
            await asyncio.sleep(0)


def _answer(batch: list[_Waiting], outcomes: list[Outcome]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if not waiting.outcome.done():  # a client that hung up has cancelled its own
            waiting.outcome.set_result(outcome)
