#!/usr/bin/env python3
"""runc for a machine that withholds CAP_SYS_RESOURCE: Docker's `--privileged` asks for every capability there is.

Docker calls it in runc's place (dockerd --add-runtime). It takes the capability out of what a container (`create`) or a
command in one (`exec --process`) is to have, when this machine hasn't got it, and then is runc.
"""

import json
import os
import sys
from pathlib import Path

WITHHELD, BIT = "CAP_SYS_RESOURCE", 24


def has_it() -> bool:
    status = Path("/proc/self/status").read_text()
    bounding = next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1]
    return bool(int(bounding, 16) >> BIT & 1)


def without(capabilities: dict[str, list[str]]) -> dict[str, list[str]]:
    return {which: [name for name in names if name != WITHHELD] for which, names in capabilities.items()}


def edit(words: list[str]) -> None:
    """Changes the file that runc is about to read."""
    if "create" in words:
        file = Path(words[words.index("--bundle") + 1]) / "config.json"
        whole = json.loads(file.read_text())
        process = whole["process"]
    elif "exec" in words:
        file = Path(words[words.index("--process") + 1])
        whole = process = json.loads(file.read_text())
    else:
        return
    if "capabilities" in process:
        process["capabilities"] = without(process["capabilities"])
        file.write_text(json.dumps(whole))


if __name__ == "__main__":
    if not has_it():
        edit(sys.argv[1:])
    os.execvp("runc", ["runc", *sys.argv[1:]])  # noqa: S606 - it becomes runc
