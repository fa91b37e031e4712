"""Stores a fixed number of readings inside this process, for a counter that watches. `python -m tools.bench.counted DSN HOW`.

`bytecodes`: counts the interpreter's steps itself, by function, and prints them as JSON. `callgrind`: this process runs under
valgrind; it says when the readings begin and end, and goes on when a file is there. Both see the same readings in the same
batches: every round is as many requests as there are connections, all of them there before the first is looked at.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from energy.server import loop_factory
from tools.local import inside

CONNECTIONS, ROUNDS = 32, 20
READINGS = CONNECTIONS * ROUNDS
_WARM_ROUNDS = 3


class Steps:
    """The bytecodes that this thread carries out, by code object."""

    def __init__(self) -> None:
        self._of: Counter[CodeType] = Counter()

    def _traced(self, frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self._of[frame.f_code] += 1
        return self._traced

    def __enter__(self) -> None:
        sys.settrace(self._traced)

    def __exit__(self, *_error: object) -> None:
        sys.settrace(None)

    def by_function(self) -> dict[str, int]:
        """Under names that are the same on every machine."""
        found: Counter[str] = Counter()
        for code, steps in self._of.items():
            found[f"{_short(code.co_filename)} {code.co_qualname}"] += steps
        return dict(found.most_common())


def _short(path: str) -> str:
    """A file's path from its package on."""
    for before in ("/site-packages/", "/src/", f"/python{sys.version_info[0]}.{sys.version_info[1]}/"):
        path = path.rpartition(before)[2]
    return path


async def _rounds(wires: list[inside.Wire], first: int, count: int) -> None:
    """The requests are made before they are counted."""
    for round_ in range(first, first + count):
        answers = [wire.ask(_MADE[round_ * CONNECTIONS + place]) for place, wire in enumerate(wires)]
        for answer in answers:
            assert (await answer).startswith(b"HTTP/1.1 201")


_MADE = [inside.reading(number) for number in range(READINGS + _WARM_ROUNDS * CONNECTIONS)]


async def _count(dsn: str, how: str) -> None:
    async with inside.running(dsn) as server:
        wires = [inside.Wire(server) for _ in range(CONNECTIONS)]
        await _rounds(wires, 0, _WARM_ROUNDS)
        gc.collect()
        gc.disable()  # when it would run is the one thing that is not the same every time
        if how == "bytecodes":
            steps = Steps()
            with steps:
                await _rounds(wires, _WARM_ROUNDS, ROUNDS)
            print(json.dumps(steps.by_function()))
        else:
            _say("begin", Path(how))
            await _rounds(wires, _WARM_ROUNDS, ROUNDS)
            _say("end", Path(how))
            os._exit(0)  # an orderly end under valgrind takes longer than all the rest


def _say(what: str, folder: Path) -> None:
    """Tells the parent, and waits until it has done its part. Sleeps shortly: valgrind listens only while code runs."""
    print(what, flush=True)
    while not (folder / what).exists():
        time.sleep(0.01)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_count(sys.argv[1], sys.argv[2]))
