"""Plays one history of the intake, drawn from a seed: the real queue and committer, a simulated database, a virtual clock.

Clients send new readings, repeat earlier ones, reuse an id for another content, hang up, and send batches; at some moment the
service drains. What was sent, heard and when is the history; it is judged elsewhere (`judge`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from msgspec.structs import replace

from energy.domain.reading import Outcome, Reading
from energy.ingest.committer import AtomicCommitter, Committer
from energy.ingest.queue import IngestQueue, Overloaded, QueueLimits
from energy.store.ports import NotAll
from simulation import virtual_loop
from simulation.world import DOUBTFUL, FAULTS, NOON, POISONED, Database, SimulatedStore

SINGLE, BATCH, ATOMIC = "queue", "batch", "atomic"
QUIET_DEADLINES = 3.0
"""So many deadlines after the last reading some histories drain: whatever was forgotten until then is late."""


@dataclass(slots=True)
class Sent:
    """A reading that a client sent, and everything that it heard."""

    reading: Reading
    way: str
    step: int
    at_s: float
    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    refused: str | None = None
    refused_at_rows: int = 0
    hung_up: bool = False
    heard: int | None = None
    heard_s: float | None = None


@dataclass(slots=True)
class History:
    """All of it."""

    seed: int
    limits: QueueLimits
    database: Database
    sent: list[Sent] = field(default_factory=list)
    rows_max: int = 0
    drain: int | None = None
    drain_s: float = 0.0
    drained: int | None = None
    drained_s: float = 0.0
    stuck: bool = False
    """Somebody waited for what could never happen."""
    broken_lanes: list[BaseException] = field(default_factory=list)


@contextmanager
def without_logs() -> Iterator[None]:
    """A lane logs each defect with its stack, and histories are full of them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def play(seed: int) -> History:
    """The history of that seed: always the same one."""
    random.seed(seed)  # the committer's jitter
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    limits = QueueLimits(
        lanes=chance.choice((1, 1, 2, 3)),
        batch_rows_max=chance.choice((1, 2, 3, 5, 100, 100)),
        rows_max=chance.choice((2, 5, 10, 1000)),
        age_max_s=chance.choice((0.1, 2.0, 1000.0)),
        deadline_s=chance.choice((0.5, 2.0)),
        linger_s=chance.choice((0.0, 0.0, 0.0, 0.02)),
        answers_at_once=chance.choice((1, 2, 32)),
    )
    faults = chance.sample(FAULTS, chance.randint(1, 4))
    database = Database(
        chance, chance.choice((0.0, 0.0, 0.1, 0.3, 0.9)), faults, chance.choice((0.0, 0.001, 0.001, 0.01, 0.1))
    )
    history = History(seed, limits, database)
    try:
        virtual_loop.run(_Clients(history, chance).run())
    except virtual_loop.NothingWillHappen:
        history.stuck = True
    return history


class _Clients:
    """Everybody who sends, and whoever stops the service."""

    def __init__(self, history: History, chance: random.Random) -> None:
        self._history = history
        self._chance = chance
        self._database = history.database
        self._devices = [UUID(int=n + 1) for n in range(chance.randint(1, 4))]
        self._numbers = itertools.count(1)
        self._bad_share = chance.choice((0.0, 0.0, 0.1, 0.4))
        self._batches = set[asyncio.Task[None]]()

    async def run(self) -> None:
        """Until the drain is over and every batch is answered."""
        history, chance, database = self._history, self._chance, self._database
        self._loop = asyncio.get_running_loop()
        clock, sleep = self._loop.time, asyncio.sleep
        self._committers = {
            SINGLE: Committer(SimulatedStore(database, SINGLE), clock, sleep),
            BATCH: Committer(SimulatedStore(database, BATCH), clock, sleep),
            ATOMIC: AtomicCommitter(SimulatedStore(database, ATOMIC, atomic=True), clock, sleep),
        }
        self._queue = IngestQueue(self._committers[SINGLE], history.limits, clock)
        self._queue.start()
        last_s = self._arrange_arrivals()
        quiet = chance.random() < 0.5
        drain_s = last_s + QUIET_DEADLINES * history.limits.deadline_s if quiet else chance.uniform(0.0, last_s)
        await asyncio.sleep(drain_s)
        history.drain, history.drain_s = next(database.steps), clock()
        await self._drain()
        history.drained, history.drained_s = next(database.steps), clock()
        if (left_s := last_s - clock()) > 0:
            await asyncio.sleep(left_s)
        while self._batches:
            await asyncio.gather(*self._batches)

    async def _drain(self) -> None:
        try:
            await self._queue.drain()
        except Exception as error:  # noqa: BLE001 - a lane that died: the judge speaks of it
            self._history.broken_lanes.append(error)

    def _arrange_arrivals(self) -> float:
        """Has everything sent at its time; returns the last one's."""
        chance, at_s = self._chance, 0.0
        for _ in range(chance.randint(1, 25)):
            at_s += chance.choice((0.0, 0.0, 0.0, 0.001, 0.01, 0.05, 0.3))
            self._at(at_s, self._send_batch if chance.random() < 0.1 else self._send_single)
        return at_s

    def _at(self, when_s: float, do: Callable[[], None]) -> None:
        if when_s <= 0.0:
            self._loop.call_soon(do)
        else:
            self._loop.call_at(when_s, do)

    # ── one reading ──────────────────────────────────────────────────────────────────────────────

    def _send_single(self) -> None:
        queue, history = self._queue, self._history
        sent = self._sent(SINGLE)
        rows = queue.rows
        try:
            future = queue.submit(sent.reading)
        except Overloaded as error:
            sent.refused, sent.refused_at_rows = error.reason, rows
            return
        history.rows_max = max(history.rows_max, queue.rows)
        future.add_done_callback(lambda done: self._hear(sent, done))
        if self._chance.random() < 0.1:
            self._loop.call_later(self._chance.uniform(0.0, history.limits.deadline_s), self._hang_up, sent, future)

    def _hang_up(self, sent: Sent, future: asyncio.Future[Outcome]) -> None:
        sent.hung_up = future.cancel()

    def _hear(self, sent: Sent, done: asyncio.Future[Outcome]) -> None:
        if done.cancelled():
            return
        self._note_heard(sent)
        failure = done.exception()
        if failure is None:
            sent.outcomes.append(done.result())
        else:
            sent.failures.append(failure)

    # ── a batch request ──────────────────────────────────────────────────────────────────────────

    def _send_batch(self) -> None:
        way = self._chance.choice((BATCH, ATOMIC))
        batch = [self._sent(way) for _ in range(self._chance.randint(1, 6))]
        task = self._loop.create_task(self._commit(way, batch))
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def _commit(self, way: str, batch: list[Sent]) -> None:
        deadline = self._loop.time() + self._history.limits.deadline_s
        try:
            outcomes = await self._committers[way].commit([sent.reading for sent in batch], deadline)
        except NotAll as error:
            outcomes = error.outcomes
            failure: Exception | None = error
        except Exception as error:  # noqa: BLE001 - what a client gets as 500
            outcomes, failure = [], error
        else:
            failure = None
        for sent in batch:
            self._note_heard(sent)
            if failure is not None:
                sent.failures.append(failure)
        for sent, outcome in zip(batch, outcomes, strict=False):
            sent.outcomes.append(outcome)

    # ── what all have in common ──────────────────────────────────────────────────────────────────

    def _sent(self, way: str) -> Sent:
        sent = Sent(self._reading(), way, next(self._database.steps), self._loop.time())
        self._history.sent.append(sent)
        return sent

    def _note_heard(self, sent: Sent) -> None:
        sent.heard, sent.heard_s = next(self._database.steps), self._loop.time()

    def _reading(self) -> Reading:
        chance, earlier = self._chance, self._history.sent
        kind = chance.random()
        if earlier and kind < 0.15:
            return replace(chance.choice(earlier).reading)  # an object of its own with the same content
        number = next(self._numbers)
        if earlier and kind < 0.2:
            return replace(chance.choice(earlier).reading, value=str(number))
        source = "meter"
        if chance.random() < self._bad_share:
            source = chance.choice((POISONED, DOUBTFUL))
        reading_id = UUID(int=chance.getrandbits(128), version=4)  # in no order: a batch is sorted by it
        return Reading(chance.choice(self._devices), reading_id, "T0", str(number), NOON, NOON, source)
