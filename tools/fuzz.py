"""`make fuzz`: runs the tests that draw their cases (marker `fuzz`) with new cases until FUZZ_S seconds are over.

Each pass has a seed of its own, printed before it; FUZZ_SEED repeats one pass. What failed is listed at the end with the
command that repeats it. A failure that was found becomes a fixed case: an `@example`, or a test of its own.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time

PYTEST = [sys.executable, "-m", "pytest", "-q", "-rf", "--timeout=900"]


def main() -> int:
    until = time.monotonic() + float(os.environ.get("FUZZ_S") or 60)
    given = os.environ.get("FUZZ_SEED")
    failures: list[str] = []
    passes = 0
    while passes == 0 or (not given and time.monotonic() < until):
        seed = given or str(secrets.randbelow(10**9))
        print(f"pass {passes + 1}, FUZZ_SEED={seed}", flush=True)
        failures += run(seed)
        passes += 1
    print(f"{passes} passes, {len(failures)} failures")
    for failure in failures:
        print(f"to repeat: {failure}")
    return 1 if failures else 0


def run(seed: str) -> list[str]:
    """One pass; the commands that repeat its failures."""
    again = f"--hypothesis-seed={seed}"
    done = subprocess.run(
        [*PYTEST, "-m", "fuzz", "-n2", "--dist=loadfile", again], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode == 0:
        return []
    print(done.stdout, flush=True)
    failed = re.findall(r"^(?:FAILED|ERROR) (tests/\S+?::\S+)", done.stdout, re.MULTILINE)
    return [f".venv/bin/pytest '{test}' {again}" for test in failed] or [f"make fuzz FUZZ_SEED={seed}"]


if __name__ == "__main__":
    sys.exit(main())
