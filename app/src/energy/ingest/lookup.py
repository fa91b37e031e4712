"""Looks up small things for requests (keys, a device's account) many at once, and remembers them for a while.

It exists so that a look-up can neither be multiplied nor wait without end: what is asked for at the same time is asked once,
by one query at a time for everybody (as readings are committed), and nobody waits longer than `timeout_s`. While the database
is away what was known before still counts: an outage must not turn known clients into a queue.

Knows nothing of HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from energy import metrics
from energy.logs import Seldom
from energy.store.ports import StoreError, Unavailable

_seldom = Seldom(logging.getLogger(__name__))

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

AWAY_S = 1.0
"""After a look-up that failed: so long what is known is used at once, not after waiting in vain once more."""


@dataclass(frozen=True, slots=True)
class LookupLimits:
    """A limit beside everything that can grow."""

    ttl_s: float
    timeout_s: float
    stale_max_s: float = 600.0  # how long something known may be used while the database is away
    known_max: int = 50_000
    absent_max: int = 5_000  # what does not exist is remembered too, but must not push out what does
    waiting_max: int = 10_000
    query_max: int = 2_000


class _Known(NamedTuple, Generic[V]):
    value: V | None
    at: float


class Lookup(Generic[K, V]):
    """A cache in front of `ask`, which gets many keys and returns those that exist."""

    def __init__(
        self,
        what: str,
        ask: Callable[[Sequence[K], float], Awaitable[dict[K, V]]],
        limits: LookupLimits,
        clock: Callable[[], float],
    ) -> None:
        self._what = what
        self._ask = ask
        self._limits = limits
        self._clock = clock
        self._present: OrderedDict[K, _Known[V]] = OrderedDict()
        self._absent: OrderedDict[K, _Known[V]] = OrderedDict()
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._away_until = float("-inf")

    def remembered(self, key: K) -> V | None:
        """What is known, however old."""
        known = self._present.get(key)
        return None if known is None else known.value

    async def get(self, keys: Iterable[K]) -> dict[K, V]:
        """Those of the keys that exist. Raises `StoreError` when that cannot be found out in time."""
        found: dict[K, V | None] = {}
        missing: list[K] = []
        now = self._clock()
        for key in dict.fromkeys(keys):
            known = self._present.get(key) or self._absent.get(key)
            if known is not None and now - known.at < self._usable_s(now):
                found[key] = known.value
            else:
                missing.append(key)
        if missing:
            found |= await self._look_up(missing)
        return {key: value for key, value in found.items() if value is not None}

    def _usable_s(self, now: float) -> float:
        return self._limits.stale_max_s if now < self._away_until else self._limits.ttl_s

    async def _look_up(self, keys: Sequence[K]) -> dict[K, V | None]:
        if len(self._waiting) >= self._limits.waiting_max:
            raise Unavailable(f"too many {self._what} are being looked up", "lookups_full")
        loop = asyncio.get_running_loop()
        answers = {key: self._waiting.get(key) or self._waiting.setdefault(key, loop.create_future()) for key in keys}
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._work_off(), name=f"lookup-{self._what}")
        done, late = await asyncio.wait(answers.values(), timeout=self._limits.timeout_s)
        if late:
            return self._stale(keys, Unavailable(f"the {self._what} could not be looked up in time", "timeout"))
        failure = next((error for answer in done if (error := answer.exception()) is not None), None)
        if isinstance(failure, StoreError):
            return self._stale(keys, failure)
        return {key: answer.result() for key, answer in answers.items()}

    def _stale(self, keys: Sequence[K], failure: StoreError) -> dict[K, V | None]:
        """What is known of all of them from before. Raises `failure` when one is not, or too old."""
        oldest = self._clock() - self._limits.stale_max_s
        known = {key: entry for key in keys if (entry := self._present.get(key)) is not None and entry.at >= oldest}
        if len(known) < len(keys):
            metrics.LOOKUPS.labels(self._what, "failed").inc(len(keys))
            raise failure
        metrics.LOOKUPS.labels(self._what, "stale").inc(len(keys))
        return {key: entry.value for key, entry in known.items()}

    async def _work_off(self) -> None:
        """One query at a time, each for all who have come meanwhile."""
        while batch := list(itertools.islice(self._waiting, self._limits.query_max)):
            try:
                with metrics.LOOKUP_SECONDS.labels(self._what).time():
                    present = await self._ask(batch, self._limits.timeout_s)
            except StoreError as error:
                _seldom.warning(f"{self._what} {error.reason}", "%s cannot be looked up: %s", self._what, error)
                self._away_until = self._clock() + AWAY_S
                self._fail(batch, error)
            except Exception as error:
                self._fail(batch, error)
                raise
            else:
                self._away_until = float("-inf")
                metrics.LOOKUPS.labels(self._what, "found").inc(len(present))
                metrics.LOOKUPS.labels(self._what, "absent").inc(len(batch) - len(present))
                for key in batch:
                    self._remember(key, present.get(key))
                    self._waiting.pop(key).set_result(present.get(key))

    def _fail(self, batch: Sequence[K], error: Exception) -> None:
        for key in batch:
            answer = self._waiting.pop(key)
            answer.set_exception(error)
            answer.exception()  # nobody may be waiting any more; that is no defect

    def _remember(self, key: K, value: V | None) -> None:
        cache, other = (self._absent, self._present) if value is None else (self._present, self._absent)
        other.pop(key, None)
        cache[key] = _Known(value, self._clock())
        cache.move_to_end(key)
        if len(cache) > (self._limits.absent_max if value is None else self._limits.known_max):
            cache.popitem(last=False)
