"""An asyncio loop whose clock jumps to the next thing that is due. Nothing is waited for, and nothing depends on the machine.

It exists because none of the ready-made ones fits: simloop and its kind need Python 3.12 (Debian 12 has 3.11); looptime asks
the system for I/O some forty times a step and waits in real time when nothing is due, so a lost wake-up would hang instead of
being seen; hypothesis's state machines know no asyncio and are far too slow for a million histories. Callbacks run in the order
of asyncio's promise (first in, first out); what differs from seed to seed is when things happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Never, TypeVar

_T = TypeVar("_T")


class NothingWillHappen(Exception):
    """Somebody waits, and nothing that is due could ever wake them."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Time starts at 0. There is no I/O: no sockets, threads or processes."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self  # BaseEventLoop asks it how long to wait

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Never]:
        if timeout is None:
            raise NothingWillHappen
        self._now += timeout
        return []

    def _process_events(self, _events: list[Never]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`. Raises `NothingWillHappen` when it can't come to an end."""
    loop = VirtualLoop()
    task = loop.create_task(work)
    try:
        return loop.run_until_complete(task)
    finally:
        left = asyncio.all_tasks(loop)
        for pending in left:
            pending.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
