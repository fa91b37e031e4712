"""Waiting for a state instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

PAUSE_S = 0.02


def until(ask: Callable[[], _T], what: str, timeout_s: float = 20.0) -> _T:
    """Asks until the answer is true and returns it; `what` completes 'waited in vain for'."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain for {what}; last answer: {answer!r}")
        time.sleep(PAUSE_S)
    return answer
