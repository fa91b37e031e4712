"""`make walk`: the functions of ours that one reading, one batch and one BillingWindow pass through, in the order they are met.

A path that is read in many files is hard to learn and, for a reading, costs time: so its length is a figure, and
tests/unit/tools/test_walk.py does not let the reading's grow. Counted is what the interpreter calls between the first byte
of a request and the last of its answer: each function once, comprehensions as part of theirs. What runs beside the
request (judging again, gauges) and what libraries do is left out.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType

from energy.server import loop_factory
from tools.local import inside
from tools.local.postgres import Postgres
from unit.prescaler import rig
from unit.prescaler.memory import MemoryApi

_BESIDE = frozenset({"rejudging", "lag", "sample", "last-use"})
_PARTS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")
_BATCH_ROWS = 100


@dataclass(slots=True)
class Walk:
    """What one request passed through. A climb is a call back into a file that is still waiting for the caller's."""

    package: str
    functions: dict[tuple[str, str], None] = field(default_factory=dict)
    climbs: dict[tuple[str, str], None] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """In the order they are met."""
        return list(dict.fromkeys(file for file, _ in self.functions))

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Notes what this thread calls."""
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, _argument: object) -> None:
        file = self._file_of(frame.f_code)
        if event != "call" or file is None or frame.f_code.co_name in _PARTS or _beside():
            return
        name = frame.f_code.co_qualname
        self.functions[file, name] = None
        callers = self._callers(frame)
        if callers and callers[0][0] != file and file in {waiting for waiting, _ in callers}:
            self.climbs[f"{callers[0][0]} {callers[0][1]}", f"{file} {name}"] = None

    def _callers(self, frame: FrameType) -> list[tuple[str, str]]:
        found, above = [], frame.f_back
        while above is not None:
            file = self._file_of(above.f_code)
            if file is not None:
                found.append((file, above.f_code.co_qualname))
            above = above.f_back
        return found

    def _file_of(self, code: CodeType) -> str | None:
        """The path inside the package, for a file of ours."""
        _, found, path = code.co_filename.partition(f"/src/{self.package}/")
        return path if found else None


def _beside() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs
        return False
    return task is not None and task.get_name() in _BESIDE


async def of_service(dsn: str) -> dict[str, Walk]:
    """The walks of a reading and of a batch, each of a service that has answered some already."""
    walks = {
        "POST /v1/readings": Walk("energy"),
        f"POST /v1/readings/batch, {_BATCH_ROWS} lines of CSV": Walk("energy"),
    }
    numbers = itertools.count()
    requests: list[Callable[[], bytes]] = [lambda: inside.reading(next(numbers)), lambda: inside.batch(_BATCH_ROWS)]
    await inside.prepare(dsn)
    async with inside.running(dsn) as server:
        wire = inside.Wire(server)
        for walk, request in zip(walks.values(), requests, strict=True):
            for _ in range(3):
                await wire.ask(request())
            with walk.recorded():
                answer = await wire.ask(request())
            assert answer.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200")), answer
    return walks


async def of_operator() -> Walk:
    """The walk of a pass in which one window opens, from the loop's turn to the patch of the HPA."""
    walk = Walk("prescaler")
    operator = rig.Rig("walk", rig.MemoryKube(MemoryApi()))
    await operator.hpa()
    await operator.window()
    await operator.tick(rig.QUIET)
    operator.at(rig.LEAD)
    operator.monotonic_s += 120
    with walk.recorded():
        await operator.loop.tick()
    assert await operator.minimum() == rig.SPEC["windows"][0]["minReplicas"]
    return walk


def main() -> None:
    with Postgres() as postgres, asyncio.Runner(loop_factory=loop_factory()) as runner:
        walks = runner.run(of_service(postgres.dsn))
    walks["a BillingWindow that opens, to the patch of its HPA"] = asyncio.run(of_operator())
    for what, walk in walks.items():
        print(f"\n{what}: {len(walk.functions)} functions in {len(walk.files)} files, {len(walk.climbs)} climbs")
        for file in walk.files:
            print(f"  {file}: {', '.join(name for its, name in walk.functions if its == file)}")
        for caller, called in walk.climbs:
            print(f"  back up: {caller} calls {called}")


if __name__ == "__main__":
    main()
