"""An instance of our own to load: one PostgreSQL, N processes of the service, nothing shared with `make run`.

The database belongs to the lab and not to the processes, so it can still be asked when a run has killed them all.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from energy.store.embedded import EmbeddedPostgres

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 40
ENERGY = Path(sys.executable).parent / "energy"


@dataclass(frozen=True, slots=True)
class Instance:
    """Where it listens and where its rows are."""

    base_urls: tuple[str, ...]
    database_url: str
    pids: tuple[int, ...]


@contextmanager
def instance(
    replicas: int, strategy: str, logs: Path, database_url: str = "", more: Sequence[str] = ()
) -> Iterator[Instance]:
    """Starts it, migrated and ready; stops it and removes its data afterwards. `more`: ENERGY_NAME=value settings."""
    with ExitStack() as stack:
        database_url = database_url or stack.enter_context(postgres())
        common = {
            **os.environ,
            "ENERGY_AUTH": "off",
            "ENERGY_DATABASE_URL": database_url,
            "ENERGY_WRITE_STRATEGY": strategy,
        }
        common |= dict(pair.split("=", 1) for pair in more)
        subprocess.run([ENERGY, "migrate"], env=common, check=True, capture_output=True)
        urls, pids = [], []
        for n in range(replicas):
            port = free_port()
            urls.append(f"http://127.0.0.1:{port}")
            log = stack.enter_context((logs / f"service-{n}.log").open("wb"))
            process = subprocess.Popen(
                [ENERGY, "serve"], env={**common, "ENERGY_PORT": str(port)}, stdout=log, stderr=log
            )
            stack.callback(_stop, process)
            pids.append(process.pid)
        for url in urls:
            wait_until_ready(url)
        yield Instance(tuple(urls), database_url, tuple(pids))


def wait_until_ready(url: str, timeout_s: float = START_TIMEOUT_S) -> None:
    """Returns when /readyz answers 200."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} is not ready after {timeout_s:.0f} s: {error}") from error
        time.sleep(0.05)


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL for one run: its DSN; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="energy-load-") as directory:
        Path(directory).chmod(0o755)  # PostgreSQL runs as a user of its own when we are root
        server = EmbeddedPostgres(Path(directory) / "pg", options=("-c max_connections=300",))
        server.start()
        try:
            yield server.dsn
        finally:
            server.stop()


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
