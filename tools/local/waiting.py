"""Waiting for a state instead of for a time, and a port that is free."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

PAUSE_S, PAUSE_MAX_S = 0.02, 0.5
PAUSE_SHARE = 0.1
"""Pauses grow with the time waited: a state is noticed at most a tenth later, and a long wait costs little."""


def until(ask: Callable[[], _T], what: str, timeout_s: float = 60.0) -> _T:
    """Asks until the answer is true and returns it. Raises `TimeoutError`, which says `what` was waited for."""
    started = time.monotonic()
    while not (answer := ask()):
        waited_s = time.monotonic() - started
        if waited_s > timeout_s:
            raise TimeoutError(f"waited {timeout_s:g} s in vain: {what}; last answer: {answer!r}")
        time.sleep(min(PAUSE_MAX_S, max(PAUSE_S, waited_s * PAUSE_SHARE)))
    return answer


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on, for programs that cannot choose one; the system doesn't give it out again soon."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    return port
