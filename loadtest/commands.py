"""Programs that the lab starts and waits for: what they print, or one sentence about why they failed.

A person reads the sentence; nobody reads a stack trace. k6 and the service's own processes are not started here: they
run beside the lab and have their logs in the run's folder.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

TIMEOUT_S = 300.0


class CommandError(RuntimeError):
    """A program could not do its part; the message is for a person."""


def run(*command: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S) -> str:
    """Runs a program to its end and returns its standard output."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    except FileNotFoundError:
        raise CommandError(f"{name} is not installed or not on the PATH") from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"{name} {command[1]} has not ended after {timeout_s:.0f} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
        raise CommandError(f"{name} {command[1]} failed: {said[-1]}")
    return done.stdout


def show(*command: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Runs a program that a person watches: what it prints is on the terminal, and so is why it failed."""
    if subprocess.run(command, env=env, check=False).returncode != 0:
        raise CommandError(f"{Path(command[0]).name} {command[1]} failed; what it said is above")
