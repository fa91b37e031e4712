"""Imports a generated fleet with the service's own command, and notes how fast it went and how large it became."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import asyncpg

from loadtest import commands
from loadtest.settings import setting
from tools.local.postgres import Postgres
from tools.local.service import ENERGY

SIZES = """
SELECT (SELECT count(*) FROM meters) AS meters, (SELECT count(*) FROM readings) AS readings,
       pg_total_relation_size('meters') AS meters_bytes, pg_total_relation_size('readings') AS readings_bytes
"""


def run(fleet: Path) -> Path:
    """Into LOAD_DATABASE_URL, or an embedded PostgreSQL of its own that is gone afterwards. Returns the file of figures."""
    named = setting("LOAD_DATABASE_URL")
    with ExitStack() as stack:
        url = named or stack.enter_context(Postgres()).dsn
        environment = {**os.environ, "ENERGY_DATABASE_URL": url}
        commands.run(ENERGY, "migrate", env=environment)
        figures: dict[str, object] = {"cores": os.cpu_count()}
        for what in ("meters", "readings"):
            started = time.monotonic()
            commands.show(ENERGY, "import", what, fleet / f"{what}.csv", env=environment)
            figures[f"{what}_s"] = round(time.monotonic() - started, 1)
        figures |= asyncio.run(_sizes(url))
    target = fleet / "import.json"
    target.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return target


async def _sizes(url: str) -> dict[str, int]:
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(SIZES)
    finally:
        await connection.close()
    assert row is not None  # noqa: S101 - counts without FROM always make a row
    return dict(row)
