"""Values that are read beside the passes of the loop: kept for a while, retried with back-off, never in a write's way.

Whoever needs one says so (`want`) and takes what is there (`get`): the last value, why there is none, or neither yet.
Used for what an object merely benefits from: lists of exceptions, last month's load, pods and nodes.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")
RETRY_S = 10.0
RETRY_MAX_S = 300.0
CONCURRENCY_MAX = 8


@dataclass(slots=True)
class Held(Generic[V]):
    """`value` outlives a failure to read it again; `problem` says why the last attempt failed."""

    value: V | None = None
    problem: str | None = None
    due_at: float = float("-inf")
    failures: int = 0


class Fetched(Generic[K, V]):
    def __init__(
        self,
        read: Callable[[K], Awaitable[V]],
        *,
        kept_s: float,
        wake: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` may raise anything: the message is kept. `wake` is called when something new is there."""
        self._read, self._kept_s, self._wake, self._monotonic = read, kept_s, wake, monotonic
        self._held: dict[K, Held[V]] = {}
        self._wanted: set[K] = set()
        self._running: dict[K, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(CONCURRENCY_MAX)

    def want(self, key: K) -> Held[V]:
        """What is known; if that is too old, reading it begins."""
        self._wanted.add(key)
        held = self._held.setdefault(key, Held())
        if key not in self._running and self._monotonic() >= held.due_at:
            self._running[key] = asyncio.create_task(self._fetch(key, held))
        return held

    def forget_unwanted(self) -> None:
        """What nobody has wanted since this was last called."""
        for gone in self._held.keys() - self._wanted - self._running.keys():
            del self._held[gone]
        self._wanted.clear()

    async def settle(self, timeout_s: float) -> bool:
        """Wait for what is being read, but no longer. Whether anything was."""
        running = list(self._running.values())
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        return bool(running)

    async def close(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _fetch(self, key: K, held: Held[V]) -> None:
        try:
            async with self._gate:
                value = await self._read(key)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this value's problem and is told as such
            problem = str(error) or type(error).__name__
            if problem != held.problem:
                log.warning("%s: %s", key, problem)
            held.problem, held.failures = problem, held.failures + 1
            held.due_at = self._monotonic() + min(RETRY_MAX_S, RETRY_S * 2 ** min(held.failures - 1, 10))
        else:
            held.value, held.problem, held.failures = value, None, 0
            held.due_at = self._monotonic() + self._kept_s
        finally:
            self._running.pop(key, None)
        self._wake()
