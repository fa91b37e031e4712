"""The service with one promise broken on purpose: each mutant has to be caught, or the tests prove nothing.

Never part of the product. `program_of` makes a program that is `energy` with the mutation done before it starts.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from energy import service
from energy.domain.reading import Committed, Outcome, Reading, Undecided
from energy.ingest.committer import Committer
from energy.ingest.queue import QueueLimits
from energy.store.postgres.writer import PostgresWriter
from energy.wire import bodies

_PERIOD = date(2026, 11, 1)
_running: set[asyncio.Task[Any]] = set()


def acknowledges_before_commit() -> None:
    """201 as soon as the batch is on its way to the database."""
    write = PostgresWriter.append

    async def append(self: PostgresWriter, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        writing = asyncio.create_task(write(self, batch, timeout_s))
        _running.add(writing)
        writing.add_done_callback(_running.discard)
        return [Committed(_PERIOD, ()) for _ in batch]

    PostgresWriter.append = append  # type: ignore[method-assign]  # that is the mutation


def forgets_ids() -> None:
    """A fresh id for every request: nothing tells a repetition from a new reading."""

    def identity(_device_id: UUID, _reading_id: UUID | None, _key: bytes | None) -> UUID:
        return uuid4()

    bodies.identity = identity  # type: ignore[assignment]  # the names of its parameters


def acknowledges_the_unknown() -> None:
    """201 when the deadline has passed without an outcome."""
    settle = Committer._settle

    async def settle_all(
        self: Committer, batch: Sequence[Reading], deadline: float, *, maybe_stored: bool = False
    ) -> list[Outcome]:
        outcomes = await settle(self, batch, deadline, maybe_stored=maybe_stored)
        return [Committed(_PERIOD, ()) if isinstance(outcome, Undecided) else outcome for outcome in outcomes]

    Committer._settle = settle_all  # type: ignore[method-assign]  # that is the mutation


def writes_two_at_a_time() -> None:
    """More than one lane for /v2/values too."""

    def limits(lanes: int, *rest: Any) -> QueueLimits:
        return QueueLimits(max(lanes, 2), *rest)

    service.QueueLimits = limits  # type: ignore[assignment,attr-defined]  # that is the mutation


def program_of(mutation: Callable[[], None], directory: Path) -> Path:
    """An executable that takes the arguments of `energy`."""
    program = directory / mutation.__name__
    program.write_text(
        f"#!{sys.executable}\n"
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        f"from fault import mutants\nmutants.{mutation.__name__}()\n"
        "from energy.cli.main import main\nmain()\n"
    )
    program.chmod(0o755)
    return program
