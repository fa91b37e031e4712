"""`energy serve` as a person starts it, on a port that the system chose."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.local.waiting import until

ENERGY = Path(sys.executable).with_name("energy")
START_TIMEOUT_S = STOP_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 5.0
_GREETING = re.compile(r"listens on http://([\d.]+):(\d+)")


class ServiceProcess:
    """One process from its greeting to its end. `environment` is all that it gets; what it writes goes to `log`."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        *arguments: str,
        probe: str = "/readyz",
        program: Path = ENERGY,
    ) -> None:
        self.log = log
        with log.open("ab") as written:
            self.process = subprocess.Popen(
                [program, "serve", *arguments],
                env={**environment, "COLUMNS": "200", "NO_COLOR": "1"}, stdout=written, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            self.address = self._greeted()
            wait_until_ready(self.address, probe)
        except BaseException:
            self.kill()
            raise

    def _greeted(self) -> tuple[str, int]:
        until(lambda: _GREETING.search(self.output) or self.process.poll() is not None, "the greeting", START_TIMEOUT_S)
        greeting = _GREETING.search(self.output)
        if greeting is None:
            raise RuntimeError(f"the service ended with {self.process.returncode}: {self.output}")
        return greeting[1], int(greeting[2])

    @property
    def output(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text()

    @property
    def base(self) -> str:
        """Its address as a URL."""
        return f"http://{self.address[0]}:{self.address[1]}"

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self.process.terminate()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.terminate()
        return self.process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Ends it without asking (kill -9), if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if error is None:
                self.stop()
        finally:
            self.kill()


def wait_until_ready(address: tuple[str, int], probe: str = "/readyz") -> None:
    """Returns when the probe answers 200."""
    until(lambda: _status(address, probe) == http.HTTPStatus.OK, f"{probe} of {address}", START_TIMEOUT_S)


def _status(address: tuple[str, int], probe: str) -> int:
    connection = http.client.HTTPConnection(*address, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", probe)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
