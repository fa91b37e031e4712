"""Waiting for a state instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

State = TypeVar("State")


def wait_until(look: Callable[[], State], what: str, *, timeout_s: float = 60.0, every_s: float = 0.1) -> State:
    """Looks until it sees something true, and gives that back; says what it waited for when it never comes."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain until {what}")
        time.sleep(every_s)
