"""One run: k6 with its ledger, the sampler beside it, the count in the database after it, the report at the end.

Whatever ends early (k6 killed, the service gone, Ctrl-C) ends in a report all the same, which says what is missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from rich.console import Console

from loadtest import ledger, verdict
from loadtest.sampler import Cluster, Sampler
from loadtest.settings import SCRIPTS, changed, setting
from tools.local.waiting import free_port

K6 = shutil.which("k6", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}") or "k6"
LEAST_LOAD_TO_NOTE = 0.5

console = Console(stderr=True, highlight=False, soft_wrap=True)


Drive = Callable[[str, "Target", Path, dict[str, str], str, str], int]


@dataclass(frozen=True, slots=True)
class Target:
    """What is loaded. Without a database nothing can be said about losses. `title` is for the report."""

    base_urls: tuple[str, ...]
    title: str
    database_url: str = ""
    cluster: Cluster | None = None
    facts: dict[str, str] = field(default_factory=dict)


def run(
    scenario: str,
    target: Target,
    folder: Path,
    settings: dict[str, str] | None = None,
    note: str = "",
    drive: Drive | None = None,
) -> Path:
    """Runs `k6/<scenario>.js` and leaves everything it saw in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    run_id = secrets.token_hex(4)
    about = {
        "scenario": scenario, "run": run_id, "title": target.title, "note": note, "facts": target.facts,
        "started_ms": round(time.time() * 1000), "settings": changed() | (settings or {}),
        "machine": f"{os.cpu_count()} cores shared by generator, service and database"
        + (f"; other work on it, load average {load:.1f}" if (load := os.getloadavg()[0]) > LEAST_LOAD_TO_NOTE else ""),
    }  # fmt: skip
    _write(folder / "run.json", about)
    k6_api = f"127.0.0.1:{free_port()}"
    sampler = Sampler(
        folder / "samples.jsonl", target.base_urls, k6_api, float(setting("LOAD_SAMPLE_S")), target.cluster
    )
    sampler.start()
    try:
        code = (drive or drive_here)(scenario, target, folder, settings or {}, run_id, k6_api)
    finally:
        sampler.stop()
    about |= {"ended_ms": round(time.time() * 1000), "k6_exit": code}
    _write(folder / "run.json", about)
    _write(folder / "verdict.json", count(folder, run_id, target.database_url))
    return folder


def drive_here(scenario: str, target: Target, folder: Path, settings: dict[str, str], run_id: str, api: str) -> int:
    """k6 as a process on this machine; returns its exit code."""
    environment = os.environ | settings | {
        "LOAD_BASE_URLS": ",".join(target.base_urls), "LOAD_RUN": run_id, "LOAD_LEDGER": "on",
        "LOAD_SUMMARY_FILE": str((folder / "k6.json").resolve()), "K6_NO_USAGE_REPORT": "true",
    }  # fmt: skip
    if fleet := environment.get("LOAD_FLEET_FILE"):
        environment["LOAD_FLEET_FILE"] = str(Path(fleet).resolve())
    if authority := environment.get("LOAD_CA_FILE"):
        environment["SSL_CERT_FILE"] = str(Path(authority).resolve())
    command: list[str | Path] = [
        K6,
        "run",
        "--address",
        api,
        "--log-format",
        "raw",
        "--console-output",
        folder / "ledger.log",
    ]
    process = subprocess.Popen([*command, SCRIPTS / f"{scenario}.js"], env=environment, start_new_session=True)
    asked_to_stop = False
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # k6 gets the chance to finish what is in flight and to write its summary
            process.send_signal(signal.SIGKILL if asked_to_stop else signal.SIGINT)
            asked_to_stop = True


def count(folder: Path, run_id: str, database_url: str) -> dict[str, object]:
    """The verdict, and why it has no count if it has none."""
    record = ledger.read(folder / "ledger.log")
    claims = ledger.claims(record)
    by = "d" if (record.lines["by"] == "d").any() else "r"
    found, why = None, ""
    if not database_url:
        why = "no database was named (LOAD_DATABASE_URL), so nobody counted what was stored"
    else:
        try:
            found = asyncio.run(verdict.stored(database_url, run_id, by))
        except (OSError, asyncpg.PostgresError) as error:
            why = f"the database could not be asked what was stored: {error}"
    judged = verdict.judge(claims, found)
    return {**judged.as_dict(), "sound": judged.sound, "not_counted_because": why}


def new_folder(name: str) -> Path:
    """A folder of its own for this run, named so that they sort by time."""
    return Path(setting("LOAD_OUT_DIR")) / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}"


def _write(path: Path, content: object) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1))
    part.replace(path)
