"""Judges again what lies around readings that were just stored.

A reading is flagged by comparing it with the one before it. That one may come later: a head end sends last week's values
after this week's, a correction takes a reading away, and two statements that run at the same time don't see each other's
rows. So everything that was sent to the store is looked at once more right after its commit, beside the intake and not
in it: whoever of a pair commits last finds both.

A pass that changed something is repeated until one changes nothing: another process may have been judging by what it saw
a moment earlier. What waits here is lost with the process; a repeat of the reading notes it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from energy import metrics
from energy.domain.reading import Committed, Outcome, Reading
from energy.store.ports import ROWS_AT_A_TIME, BatchStore, Place, RejudgeStore, StoreError

log = logging.getLogger(__name__)

WAITING_MAX = 50_000
"""Some 10 MB. More than the queue holds and a few batches: only a store that fails for long lets it grow."""
ROWS_MAX = 1_000
PASSES_MAX = 5
PAUSE_S = 0.1
"""Between passes, so that small commits share one: a reading is looked at again some hundred milliseconds after it came."""
RETRY_S = 1.0


class Rejudging:
    """One per process: remembers readings, and corrects the flags around them."""

    def __init__(self, store: RejudgeStore, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._store = store
        self._sleep = sleep
        self._waiting: dict[tuple[int, int], Place] = {}  # by device and reading
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def around(self, inner: BatchStore) -> BatchStore:
        """`inner`, with everything it is given remembered."""
        return _Remembering(inner, self)

    def start(self) -> None:
        """Begins on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="rejudging")

    async def stop(self, timeout_s: float) -> None:
        """Finishes what waits, for at most `timeout_s`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(timeout_s):
                await self.settle()

    async def settle(self) -> None:
        """Returns when nothing waits any more. Raises `StoreError`."""
        while self._waiting:
            await self._pass()

    def remember(self, batch: Sequence[Reading], outcomes: Sequence[Outcome] | None = None) -> None:
        """These may have been stored, and what they supersede superseded. Without outcomes they are looked up."""
        for place in _places(batch, outcomes or itertools.repeat(None)):
            self._waiting[place.device_id.int, place.reading_id.int] = place
        if len(self._waiting) > WAITING_MAX:
            self._forget(len(self._waiting) - WAITING_MAX)
        self._arrived.set()

    def _forget(self, too_many: int) -> None:
        metrics.NOT_REJUDGED.inc(too_many)
        for key in list(itertools.islice(self._waiting, too_many)):
            del self._waiting[key]

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._sleep(PAUSE_S)
            try:
                for _ in range(0, len(self._waiting), ROWS_MAX):
                    await self._pass()
            except StoreError as error:
                log.warning("flags could not be judged again, trying again: %s", error)
                self._arrived.set()
                await self._sleep(RETRY_S)

    async def _pass(self) -> None:
        """One statement's worth. What fails waits again."""
        places = dict(itertools.islice(self._waiting.items(), ROWS_MAX))
        for key in places:
            del self._waiting[key]
        try:
            for _ in range(PASSES_MAX):
                changed = await self._store.rejudge(list(places.values()))
                metrics.REJUDGED.inc(changed)
                if not changed:
                    return
        except (StoreError, asyncio.CancelledError):
            self._waiting = {**places, **self._waiting}
            raise


class _Remembering:
    """A `BatchStore` that tells what it was given, whatever became of it: what isn't stored is not found later."""

    def __init__(self, inner: BatchStore, rejudging: Rejudging) -> None:
        self._inner = inner
        self._rejudging = rejudging

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        """See `BatchStore.append`."""
        outcomes = None
        try:
            outcomes = await self._inner.append(batch, timeout_s)
            return outcomes
        finally:
            for at in range(0, len(batch), ROWS_AT_A_TIME):
                if at:
                    await asyncio.sleep(0)
                part = slice(at, at + ROWS_AT_A_TIME)
                self._rejudging.remember(batch[part], outcomes and outcomes[part])


def _places(batch: Sequence[Reading], outcomes: Iterable[Outcome | None]) -> Iterator[Place]:
    """Of a repeat only the store can say where it has found the reading."""
    for reading, outcome in zip(batch, outcomes, strict=False):
        if isinstance(outcome, Committed) and not outcome.replayed:
            yield Place(reading.device_id, reading.reading_id, reading.register, reading.read_at)
        else:
            yield Place(reading.device_id, reading.reading_id)
        if reading.supersedes is not None:
            yield Place(reading.device_id, reading.supersedes)
