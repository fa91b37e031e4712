"""The HTTP server: uvicorn with this service's limits, its listening socket, and a stop that loses nothing.

On SIGTERM readiness turns false, the server goes on for `drain_delay_s` so that load balancers notice, then stops
listening and lets uvicorn wait for open requests. A second signal skips the delay. The command line, the tests, the load
lab and the benchmark all start the service through this module. It knows nothing of readings or databases.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

import uvicorn

from energy.http.connection import Connection, ConnectionLimits
from energy.settings import Settings

BACKLOG = 4096
KEEP_ALIVE_S = 75


class CannotListen(Exception):
    """The address or port is unavailable; the message says what to do."""


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket that worker processes can inherit. Raises `CannotListen`."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {host}:{port}: {error.strerror}. Choose another with ENERGY_PORT."
            ) from error
        listener.set_inheritable(True)
        yield listener


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Uvloop's event loop where there is one, else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


class Draining(Protocol):
    """What is told that the end is near."""

    def begin_draining(self) -> None:
        """The first signal: say that you are not ready, and go on."""

    def stop_taking(self) -> None:
        """Nobody new is listened to from now on; take no more long work."""


class Server(uvicorn.Server):
    """uvicorn's server, with a pause between 'not ready' and 'not listening', and exit code 0 after a signal.

    `app` is an ASGI application; `service` is told when to stop. Make it on the loop it runs on.
    """

    def __init__(self, app: Callable[..., Any], settings: Settings, service: Draining) -> None:
        limits = ConnectionLimits(settings.header_bytes_max, settings.body_timeout_s, settings.connections_max)
        super().__init__(
            uvicorn.Config(
                app=app,
                http=functools.partial(Connection, limits),  # type: ignore[arg-type]  # it is only called
                ws="none",
                loop="none",
                lifespan="on",
                log_config=None,
                access_log=settings.access_log,
                proxy_headers=False,
                server_header=False,
                date_header=True,
                timeout_graceful_shutdown=round(settings.drain_timeout_s),
                timeout_keep_alive=KEEP_ALIVE_S,
                backlog=BACKLOG,
            )
        )
        self._loop = asyncio.get_running_loop()
        self._drain_delay_s = settings.drain_delay_s
        self._service = service
        self._signals = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Does not remember the signal: uvicorn would raise it again after a clean stop."""
        self._signals += 1
        if self._signals > 1:
            self.stop()
        else:
            self._loop.call_soon_threadsafe(self._drain)

    def stop(self) -> None:
        """Stops listening, lets open requests end, then returns from `serve`. May be called from any thread."""
        self._service.stop_taking()
        self.should_exit = True

    def _drain(self) -> None:
        self._service.begin_draining()
        self._loop.call_later(self._drain_delay_s, self.stop)
