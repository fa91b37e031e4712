"""Several processes on one listening socket, for bare metal; in Kubernetes a pod has one and there are more pods.

A process that dies is replaced, after a pause when it hardly lived; SIGTERM goes to all of them and each drains what it
took in. When the parent is killed its workers drain too: nobody else could end them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from energy.cli.stopping import SIGNALS, raise_if_asked

log = logging.getLogger(__name__)

_PAUSE_MAX_S = 30.0
_LOOK_S = 0.5
_LIVED_S = 10.0
"""A worker that lived longer is replaced at once."""

Target = Callable[[socket.socket], None]


class _Worker:
    """One process at a time, and when the next may start."""

    def __init__(self, target: Target, listener: socket.socket) -> None:
        self._target = target
        self._listener = listener
        self._pause_s = 0.0
        self.start()

    def start(self) -> None:
        """Starts a process. Everything it needs is inherited through the environment and the socket."""
        self.due: float | None = None
        self._started = time.monotonic()
        self.process: SpawnProcess = multiprocessing.get_context("spawn").Process(
            target=_run, args=(self._target, self._listener)
        )
        self.process.start()

    def bury(self) -> None:
        """Notes that the process is gone, and when the next is due."""
        now = time.monotonic()
        self._pause_s = 0.0 if now - self._started > _LIVED_S else min(max(1.0, 2 * self._pause_s), _PAUSE_MAX_S)
        self.due = now + self._pause_s
        forget(self.process)
        log.error(
            "worker %d ended with %s; another starts in %.0f s", self.process.pid, self.process.exitcode, self._pause_s
        )


def run_workers(count: int, target: Target, listener: socket.socket) -> int:
    """Runs `count` processes of `target` until SIGTERM or SIGINT; the exit code is the worst of theirs."""
    workers: list[_Worker] = []
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()
        for worker in workers:
            worker.process.terminate()

    for number in SIGNALS:
        signal.signal(number, stop)
    raise_if_asked()
    workers += [_Worker(target, listener) for _ in range(count)]
    while not stopping.is_set():
        _wait_for_a_change(workers)
        if not stopping.is_set():
            _replace_the_dead(workers)
    for worker in workers:
        worker.process.terminate()  # one that started while the signal came has not been told
        worker.process.join()
        forget(worker.process)
    codes = (worker.process.exitcode or 0 for worker in workers)
    return max((code for code in codes if code != -signal.SIGTERM), default=0)  # that one had hardly begun


def _replace_the_dead(workers: list[_Worker]) -> None:
    for worker in workers:
        if worker.due is None and not worker.process.is_alive():
            worker.bury()
        if worker.due is not None and time.monotonic() >= worker.due:
            worker.start()


def _wait_for_a_change(workers: list[_Worker]) -> None:
    somebody_is_due = any(worker.due is not None for worker in workers)
    wait([worker.process.sentinel for worker in workers if worker.due is None], _LOOK_S if somebody_is_due else None)


def forget(process: SpawnProcess) -> None:
    """Takes a dead process's gauges out of the sums."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        mark_process_dead(process.pid)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped


def _run(target: Target, listener: socket.socket) -> None:
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    target(listener)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
