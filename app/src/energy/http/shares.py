"""Fair shares of what is scarce: memory for the bodies of batches, batches worked on at once, and the loop's time.

Without them one key that sends a few slow batches would keep everybody else's batches out, and a few large ones all readings.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator


class Busy(Exception):
    """All of it, or all that one key may have of it, is in use."""


class Shares:
    """Counts what is in use, in all and by key. One key may hold at most half of it."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._each = (most + 1) // 2
        self._held: Counter[str] = Counter()

    @contextlib.contextmanager
    def of(self, key_id: str) -> Iterator[Callable[[int], None]]:
        """A function that takes some more for the key, or raises `Busy`; everything is given back at the end."""
        taken = 0

        def take(amount: int) -> None:
            nonlocal taken
            if amount > self._free or self._held[key_id] + amount > self._each:
                raise Busy
            self._free -= amount
            self._held[key_id] += amount
            taken += amount

        try:
            yield take
        finally:
            self._free += taken
            self._held[key_id] -= taken
            if not self._held[key_id]:
                del self._held[key_id]


class Turns:
    """Long work in short steps, of which the event loop has one in each of its rounds, however many requests have some."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def next(self) -> None:
        """Returns when the caller may take its next step. In the same round nobody else does."""
        async with self._lock:
            await asyncio.sleep(0)
