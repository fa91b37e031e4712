"""`make budget`: what one committed reading costs the service, counted instead of timed, and what it may cost.

Times differ by a third from run to run on a machine that does anything else; counts hardly differ at all. Two things are counted
over the same readings, each in a process of its own (`counted.py`):

- machine instructions, by callgrind: everything, also what C code does. They depend on how the interpreter was built, so they are
  compared with those of the same build only;
- bytecodes, by the interpreter's own trace: the same on every build of one Python version, and told by function, so they
  also say where a change went.

Fails when either is more than 3 % above `budget.json` (docs/adr/0023). A change that is worth its price writes a new one:
`make budget-accept`.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from tools.bench.counted import READINGS
from tools.local import inside
from tools.local.postgres import Postgres

BASELINE = Path(__file__).with_name("budget.json")
ABOVE_MAX = 0.03
SHOWN = 10
TIMEOUT_S = 300.0
_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one reading, on the average. `instructions` is 0 where valgrind is not installed."""

    bytecodes: Mapping[str, float]
    instructions: float

    @property
    def steps(self) -> float:
        """All bytecodes."""
        return sum(self.bytecodes.values())


def python() -> str:
    """The version whose bytecodes are the same everywhere."""
    return ".".join(platform.python_version_tuple()[:2])


def build() -> str:
    """The interpreter whose instructions can be compared: version, compiler, processor."""
    return f"{platform.python_version()} {platform.python_compiler()} {platform.machine()} {platform.libc_ver()[1]}"


async def _fresh(dsn: str) -> None:
    """Nothing stored: the readings are the same every time."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("TRUNCATE readings")
    await connection.close()


def _child(dsn: str, how: str, *before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-m", "tools.bench.counted", dsn, how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": "0"})


def bytecodes(dsn: str) -> dict[str, float]:
    """By function."""
    asyncio.run(_fresh(dsn))
    child = _child(dsn, "bytecodes")
    output, _ = child.communicate(timeout=TIMEOUT_S)
    assert child.returncode == 0
    return {name: steps / READINGS for name, steps in json.loads(output).items()}


def instructions(dsn: str) -> float:
    """Those of all readings from the first request's bytes to the last answer's."""
    asyncio.run(_fresh(dsn))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        child = _child(
            dsn, folder, "valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"
        )
        try:
            for moment, order in (("begin", "instrumentation on"), ("end", "dump")):
                assert child.stdout is not None
                assert child.stdout.readline().strip() == moment
                subprocess.run(["vgdb", f"--pid={child.pid}", *order.split()], check=True, capture_output=True)
                (Path(folder) / moment).touch()
            child.wait(TIMEOUT_S)
        finally:
            child.kill()
            child.wait()
        found = max(
            int(total) for file in Path(folder).glob("callgrind.out*") for total in _TOTAL.findall(file.read_text())
        )
    return found / READINGS


def measured() -> Counts:
    """Both counts, now."""
    with Postgres() as postgres:
        asyncio.run(inside.prepare(postgres.dsn))
        steps = bytecodes(postgres.dsn)
        return Counts(steps, instructions(postgres.dsn) if shutil.which("valgrind") and shutil.which("vgdb") else 0.0)


def complaints(now: Counts, baseline: Mapping[str, Any]) -> list[str]:
    """What costs more than it may, and where; nothing when all is well."""
    found = []
    before: Mapping[str, float] = baseline["bytecodes"].get(python(), {})
    allowed = baseline["instructions"].get(build(), 0.0)
    if before and now.steps > sum(before.values()) * (1 + ABOVE_MAX):
        found.append(_more("bytecodes", now.steps, sum(before.values())))
    if allowed and now.instructions > allowed * (1 + ABOVE_MAX):
        found.append(_more("instructions", now.instructions, allowed))
    if found and before:
        found += where(now.bytecodes, before)
    return found


def _more(what: str, now: float, before: float) -> str:
    return f"a reading costs {now:,.0f} {what}, {now / before - 1:+.1%} against {before:,.0f}"


def where(now: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
    """The functions that changed most, the dearest first."""
    change = {name: now.get(name, 0.0) - before.get(name, 0.0) for name in {*now, *before}}
    dearest = sorted(change, key=lambda name: (-abs(change[name]), name))[:SHOWN]
    return [f"  {change[name]:+8.1f} bytecodes  {name}" for name in dearest if abs(change[name]) >= 1]


def main(arguments: list[str]) -> int:
    """With `accept` writes what is measured as the new baseline."""
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
    now = measured()
    print(f"a committed reading: {now.steps:,.0f} bytecodes of Python {python()}", end="")
    print(f", {now.instructions:,.0f} instructions of {build()}" if now.instructions else "; valgrind is not installed")
    if arguments == ["accept"]:
        steps = {name: round(count, 1) for name, count in now.bytecodes.items() if count >= 1}
        baseline["bytecodes"] = {python(): steps}
        if now.instructions:
            baseline["instructions"] = {build(): round(now.instructions)}
        BASELINE.write_text(json.dumps(baseline, indent=1) + "\n", encoding="utf-8")
        print(f"Written: {BASELINE}")
        return 0
    if python() not in baseline["bytecodes"]:
        print(f"not compared: the baseline has no Python {python()}")
    if now.instructions and build() not in baseline["instructions"]:
        print("instructions not compared: the baseline has none of this build of the interpreter")
    found = complaints(now, baseline)
    print(*found, sep="\n", end="\n" if found else "")
    if found:
        print("If the change is worth it: `make budget-accept`, and say why in the commit.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
