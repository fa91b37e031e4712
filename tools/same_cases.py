"""`make same-cases`: fails unless two runs of the gate have the same tests, and the tests that draw their cases the same cases.

The second run has another hash seed, so that an order taken from a set shows. Cases are compared as hypothesis reports them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
Cases = dict[str, list[str]]


def main() -> int:
    first, second = run("1"), run("2")
    differ = sorted(test for test in first.keys() | second.keys() if first.get(test) != second.get(test))
    for test in differ:
        print(
            f"{test}: {len(first.get(test, []))} cases in the first run, {len(second.get(test, []))} in the second, not all equal"
        )
    print(f"{sum(map(len, first.values()))} cases of {len(first)} tests in the first run; {len(differ)} tests differ")
    return 1 if differ else 0


def run(hash_seed: str) -> Cases:
    """What each test was called with, in order; nothing for a test that draws nothing."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "HYPOTHESIS_STORAGE_DIRECTORY": folder,
            "HYPOTHESIS_EXPERIMENTAL_OBSERVABILITY": "1",
            "HYPOTHESIS_EXPERIMENTAL_OBSERVABILITY_NOCOVER": "1",
        }
        listed = subprocess.run(
            [*PYTEST, "--collect-only"], env=environment, capture_output=True, text=True, check=True
        )
        cases: Cases = {line: [] for line in listed.stdout.splitlines() if "::" in line}
        subprocess.run([*PYTEST, "-m", "fuzz"], env=environment, stdout=subprocess.DEVNULL, check=True)
        return cases | drawn(Path(folder))


def drawn(folder: Path) -> Cases:
    found: Cases = defaultdict(list)
    for file in sorted(folder.glob("observed/*_testcases.jsonl")):
        for line in file.read_text().splitlines():
            case = json.loads(line)
            if case["type"] == "test_case":
                found[case["property"]].append(f"{case['status']} {case['representation']}")
    return found


if __name__ == "__main__":
    sys.exit(main())
