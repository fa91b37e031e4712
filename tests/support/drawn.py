"""How many cases a test draws: few in the gate, many when it looks for new failures (see tests/conftest.py)."""

from __future__ import annotations

from hypothesis import settings

GATE, FUZZ = "gate", "fuzz"
TIMES = 10


def examples(in_the_gate: int) -> int:
    """For `@settings(max_examples=…)` of a test that wants another number than hypothesis' own hundred."""
    return in_the_gate * (TIMES if settings.get_current_profile_name() == FUZZ else 1)
