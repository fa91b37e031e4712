"""A store that does as a test tells it: the faults of a database, on order. The real one is in tests/api and tests/fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

from energy.domain.reading import Committed, Outcome, Reading
from energy.http.body import unpack
from energy.http.shares import Turns
from energy.store.ports import Poisoned

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PERIOD = date(2026, 11, 1)


def a_reading(value: str = "1.000", *, reading_id: UUID | None = None, device: UUID | None = None) -> Reading:
    return Reading(device or uuid4(), reading_id or uuid4(), "T0", value, NOW, NOW, "meter")


async def unpacked(
    body: bytes,
    encoding: bytes | None = b"gzip",
    bytes_max: int = 8 * 2**20,
    look: Callable[[bytes], None] = lambda _part: None,
) -> bytes:
    return await unpack(body, encoding, bytes_max, look, Turns().next)


class ToldStore:
    """Raises `faults` one after the other, then stores; a row that `poison` picks is refused each time."""

    def __init__(self, *faults: Exception, poison: Callable[[Reading], bool] = lambda _: False) -> None:
        self.faults = list(faults)
        self.poison = poison
        self.batches: list[list[Reading]] = []
        self.timeouts_s: list[float] = []
        self.stored: dict[tuple[UUID, UUID], Reading] = {}
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.writing = 0
        self.writing_max = 0

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        assert timeout_s > 0
        self.batches.append(list(batch))
        self.timeouts_s.append(timeout_s)
        self.writing += 1
        self.begun.set()
        self.writing_max = max(self.writing, self.writing_max)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.faults:
                raise self.faults.pop(0)
            if any(self.poison(reading) for reading in batch):
                raise Poisoned("numeric field overflow")
            replayed = [(r.device_id, r.reading_id) in self.stored for r in batch]
            self.stored.update({(r.device_id, r.reading_id): r for r in batch})
            return [Committed(PERIOD, (), was) for was in replayed]
        finally:
            self.writing -= 1


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)
        await asyncio.sleep(0)
