"""An embedded PostgreSQL that is there for as long as somebody uses it: on one machine nobody else looks after it.

A thread of its own makes it, starts it, starts it again when it dies, and stops it: so there is one way in which it comes
back, whatever dies and when, and whoever stops waiting for it leaves nothing half done.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from types import TracebackType
from typing import Self

from energy.store.data_dir import PAUSE_S
from energy.store.embedded import START_TIMEOUT_S, EmbeddedPostgres, EmbeddedUnavailable

log = logging.getLogger(__name__)

WATCH_S = 1.0


class KeptRunning:
    """Inside of it the server is started, and after `started` it takes connections, or soon does again.

    Its end is that of the server, if nobody else uses it.
    """

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._deadline = time.monotonic() + START_TIMEOUT_S
        self._failure: Exception | None = None
        self._left_running: EmbeddedUnavailable | None = None
        self._started, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="embedded-postgres")

    @property
    def dsn(self) -> str:
        """How to reach it; the same for as long as it is kept."""
        return self._server.dsn

    def raise_if_gone(self, error: Exception) -> None:
        """To be called when it was lost during the start: raises `EmbeddedUnavailable` when it does not come back, or not in time."""
        if self._failure is not None:
            raise self._failure
        if time.monotonic() > self._deadline:
            raise EmbeddedUnavailable(
                f"the embedded database in {self._server.data_dir} was not there for long enough within {START_TIMEOUT_S} s: {error}. "
                f"Its log: {self._server.data_dir / 'log'}"
            ) from error

    async def started(self) -> None:
        """Returns when the server takes connections for the first time. Raises `EmbeddedUnavailable`."""
        while not self._started.is_set():  # noqa: ASYNC110 - a thread's event
            await asyncio.sleep(PAUSE_S)
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join()
        if error is None and self._left_running is not None:
            raise self._left_running

    def _keep(self) -> None:
        try:
            self._server.use(self._stopping, self._deadline)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for it
            self._failure = error
            self._stopping.set()
        self._started.set()
        while not self._stopping.wait(WATCH_S):
            self._look()
        try:
            self._server.leave()
        except EmbeddedUnavailable as error:
            self._left_running = error

    def _look(self) -> None:
        try:
            self._server.rotate_log()
            if self._server.running:
                return
            if self._server.use(self._stopping):
                log.warning("the embedded database had ended by itself and was started again")
            self._failure = None
        except (OSError, EmbeddedUnavailable) as error:
            self._failure = error
            log.warning("%s; trying again", error)
