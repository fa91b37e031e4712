"""SIGTERM and Ctrl-C end a command in order: what it has begun is undone, and what it has started is stopped.

They are noted from the first line on, and never raise where they arrive: a destructor, or a callback of the collector, would swallow
that. All that a command waits for is awaited in `run`, which is cancelled by the first of them and does not begin after it. Once
the service serves it catches them itself (`energy.server`), to drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

_T = TypeVar("_T")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """A signal has asked for the end. Its status is the one that a shell gives a program which a signal has ended."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


@dataclass(slots=True)
class _Asked:
    """Which signals came, and what the first of them cancels."""

    numbers: list[int] = field(default_factory=list)
    cancel: Callable[[], object] | None = None

    def note(self, number: int, _frame: FrameType | None) -> None:
        self.numbers.append(number)
        if self.cancel is not None and len(self.numbers) == 1:
            self.cancel()


_asked = _Asked()


def raise_if_asked() -> None:
    """Raises `Stopped` if a signal has come."""
    if _asked.numbers:
        raise Stopped(_asked.numbers[0])


@contextlib.contextmanager
def signals_are_noted() -> Iterator[None]:
    """Meanwhile they end nothing but what `run` runs."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    _asked.numbers.clear()
    before = {number: signal.signal(number, _asked.note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(main: Coroutine[Any, Any, _T], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> _T:
    """As `asyncio.run`. The first signal cancels `main`; `Stopped` is raised when it has wound up."""

    async def stoppable() -> _T:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        _asked.cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        if _asked.numbers:
            task.cancel()
        return await task

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        try:
            return runner.run(stoppable())
        except asyncio.CancelledError:
            raise_if_asked()
            raise
        finally:
            _asked.cancel = None
