"""Notes which keys are in use, so that those that nobody uses can be found and ended.

A key is noted when it is looked up, once per TTL and never on the hot path, and written together with the others every
ten seconds; the store changes each at most once a minute. What is lost with the process is noted again by the next look-up.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from energy.logs import Seldom
from energy.store.ports import KeyAdmin, StoreError

_seldom = Seldom(logging.getLogger(__name__))

EVERY_S = 10.0
WAITING_MAX = 50_000


class LastUse:
    """One per process."""

    def __init__(self, keys: KeyAdmin, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._keys = keys
        self._sleep = sleep
        self._used: set[str] = set()

    def note(self, key_id: str) -> None:
        """The key was just used."""
        if len(self._used) < WAITING_MAX:
            self._used.add(key_id)

    async def run(self) -> None:
        """Writes until it is cancelled."""
        while True:
            await self._sleep(EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Writes what was noted; what the store refuses is noted by the next look-up."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await self._keys.mark_used(sorted(used))
        except StoreError as error:
            _seldom.warning(error.reason, "the last use of %d keys was not written: %s", len(used), error)
