"""The schema version that this code needs, told by the steps' file names.

It exists because the library that applies the steps takes as long to load as all the rest of the service, and a pod that
only serves never applies any: pods that are started for a peak should be ready early.
"""

from __future__ import annotations

from pathlib import Path

_STEPS = Path(__file__).parent / "migrations" / "versions"


def head() -> str:
    """The same as `migrations.head()`."""
    return max(step.name.split("_", 1)[0] for step in _STEPS.glob("[0-9]*_*.py"))
