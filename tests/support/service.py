"""The service under test, as a thread of this process or as the real program.

The thread is fast and for the API's promises; the program is for what only a process can show: signals, exit codes, output.
Both listen on a port that the system chose.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from unittest import mock

import httpx

from energy.cli.main import main
from energy.server import Server, listening, loop_factory
from energy.service import Service
from energy.settings import Settings
from tools.local import service as running

PROGRAM = running.ENERGY  # a mutant of it in the tests of the fault tests
OPEN_ALL_MONTH: dict[str, Any] = {"window_from_day": 1, "window_to_day": 31}
"""So that no test's result depends on the day it runs on."""


class Running(Protocol):
    """What a client needs to know."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""


def client_of(service: Running, **options: Any) -> httpx.Client:
    """An HTTP client for it; close it, or use it in a `with`."""
    host, port = service.address
    return httpx.Client(base_url=f"http://{host}:{port}", timeout=30.0, **options)


def wait_until_ready(service: Running, probe: str = "/readyz") -> None:
    """Returns when the probe says so."""
    running.wait_until_ready(service.address, probe)


class ServiceThread:
    """The service on an event loop of its own inside the test process: same parts, same sockets, no start-up time."""

    def __init__(self, dsn: str, **settings: Any) -> None:
        self.dsn = dsn
        given = {"auth": "off", "port": 0, "database_url": dsn, "drain_timeout_s": 5, **OPEN_ALL_MONTH, **settings}
        self.settings = Settings(**given)
        self.address = ("", 0)
        self._server: Server | None = None
        self._ready = threading.Event()
        self._failure: list[BaseException] = []
        self._thread = threading.Thread(target=self._body, name="service", daemon=True)
        self._thread.start()
        try:
            assert self._ready.wait(running.START_TIMEOUT_S), "the service's thread hangs"
            assert not self._failure, f"the service did not start: {self._failure}"
            wait_until_ready(self)
        except BaseException:
            self.stop()
            raise

    def _body(self) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told to whoever started it
            self._failure.append(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        with listening(self.settings.host, self.settings.port) as listener:
            self.address = listener.getsockname()[:2]
            service = Service(self.settings, self.dsn, on_unsafe=self._failure.append)
            self._server = Server(service.app, self.settings, service)
            asyncio.get_running_loop().call_soon(self._ready.set)
            await self._server.serve(sockets=[listener])

    def stop(self) -> None:
        """Drains and ends it."""
        if self._server is not None:
            self._server.stop()
        self._thread.join(running.START_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def environment(**settings: Any) -> dict[str, str]:
    """This process's environment without its own ENERGY_* variables, with `settings` as such."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ENERGY_")}
    given = {f"ENERGY_{name.upper()}": str(value) for name, value in settings.items()}
    return {**inherited, "COLUMNS": "200", "NO_COLOR": "1", **given}


@dataclass(frozen=True, slots=True)
class Run:
    """What a command printed and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def energy(*arguments: str, **settings: Any) -> Run:
    """Runs `energy …` to its end inside this process, which saves its start-up; what it raises is a stack trace to a person."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.dict(os.environ, environment(**settings), clear=True),
        mock.patch.object(sys, "argv", ["energy", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Run(code, out.getvalue(), err.getvalue())


def program(*arguments: str, stdin: str | None = None, **settings: Any) -> Run:
    """The same as a process of its own, with `stdin` as its standard input."""
    run = subprocess.run(
        [PROGRAM, *arguments],
        env=environment(**settings), input=stdin, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    return Run(run.returncode, run.stdout, run.stderr)


class ServiceProcess(running.ServiceProcess):
    """`energy serve` as a person starts it, with these settings and no others. What it writes is in `output`."""

    def __init__(self, *arguments: str, ready: bool = True, **settings: Any) -> None:
        given: Mapping[str, Any] = {"auth": "off", "port": 0, **OPEN_ALL_MONTH, **settings}
        self._file = tempfile.NamedTemporaryFile(prefix="energy-serve-", suffix=".log")  # noqa: SIM115 - closed by kill()
        probe = "/readyz" if ready else "/livez"
        super().__init__(environment(**given), Path(self._file.name), *arguments, probe=probe, program=PROGRAM)

    def kill(self) -> None:
        super().kill()
        self._file.close()
