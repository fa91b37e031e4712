"""The way of one reading through the code does not grow by itself: a longer one is a decision, made here."""

from __future__ import annotations

import asyncio

from energy.server import loop_factory
from support.postgres import TestServer
from tools import walk

READING_FUNCTIONS_MAX, READING_FILES_MAX = 47, 16


def test_a_reading_passes_through_no_more_functions_and_files_than_agreed(postgres: TestServer) -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        reading, batch = runner.run(walk.of_service(postgres.empty())).values()
    assert len(reading.functions) <= READING_FUNCTIONS_MAX, list(reading.functions)
    assert len(reading.files) <= READING_FILES_MAX, reading.files
    assert not reading.climbs | batch.climbs
