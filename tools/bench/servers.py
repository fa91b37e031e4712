"""Starts what is measured: a PostgreSQL for the run, the service with settings, and the ceiling."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tools.local.service import ENERGY, ServiceProcess


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers at `base`, in the process `pid` and its children."""

    base: str
    pids: tuple[int, ...]

    def cpu_s(self) -> float:
        """Processor time that it has used so far."""
        return cpu_s(self.pids)


@contextlib.contextmanager
def service(dsn: str, settings: Mapping[str, str], program: Path = ENERGY) -> Iterator[Server]:
    """`energy serve`; another checkout's with another `program`."""
    environment = {**os.environ, "ENERGY_DATABASE_URL": dsn, "ENERGY_PORT": "0", **settings}
    with (
        tempfile.TemporaryDirectory() as folder,
        ServiceProcess(environment, Path(folder) / "service.log", program=program) as started,
    ):
        yield Server(started.base, (started.process.pid,))


@contextlib.contextmanager
def ceiling(processes: int = 1) -> Iterator[Server]:
    """The server with nothing behind it, in so many processes on one socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    command = [sys.executable, "-m", "tools.bench.ceiling", str(listener.fileno())]
    started = [subprocess.Popen(command, pass_fds=[listener.fileno()]) for _ in range(processes)]
    listener.close()
    try:
        yield Server(f"http://127.0.0.1:{port}", tuple(process.pid for process in started))
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def elsewhere(url: str) -> Server:
    """A server that somebody else started. On this machine its processor time is counted, too."""
    port = urlsplit(url).port
    listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr[1:] == (port,)]
    return Server(url.rstrip("/"), tuple({c.pid for c in listening if c.pid}))


def cpu_s(pids: Iterable[int]) -> float:
    """Processor time of these processes with their children, those that have ended too."""
    spent = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for one in (process, *process.children()):
            with contextlib.suppress(psutil.NoSuchProcess):  # a backend that ends while we look
                spent += sum(one.cpu_times()[:4])
    return spent


def rss_mib(base: str) -> float:
    """Resident memory of the service, from its own metrics."""
    with urllib.request.urlopen(base + "/metrics", timeout=5) as page:  # noqa: S310 - our own address
        found = re.search(rb"^process_resident_memory_bytes ([\d.e+]+)", page.read(), re.MULTILINE)
    return float(found[1]) / 2**20 if found else 0.0
