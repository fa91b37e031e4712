"""The lab's settings: one table, `k6/settings.json`, read by the scripts and by this package alike.

Nothing else here reads LOAD_* variables; `tests/unit/loadtest` holds the table in docs/load.md equal to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).parent / "k6"


@cache
def table() -> dict[str, str]:
    """Every setting's name and default."""
    return {row["name"]: row["default"] for row in json.loads((SCRIPTS / "settings.json").read_text())}


def setting(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """What `name` is set to. An unknown name is a mistake in the lab, not a default."""
    return environment.get(name) or table()[name]


def changed(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What was set by hand, for the report; never a credential."""
    return {n: v for n in table() if (v := environment.get(n)) and n not in ("LOAD_API_KEY", "LOAD_DATABASE_URL")}


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """LOAD_* variables that mean nothing: most likely misspelt."""
    return sorted(name for name in environment if name.startswith("LOAD_") and name not in table())
