"""Several processes on one listening socket, for bare metal; in Kubernetes a pod has one and there are more pods.

A process that dies is replaced; SIGTERM goes to all of them and each drains what it took in.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

log = logging.getLogger(__name__)


def run_workers(count: int, target: Callable[[socket.socket], None], listener: socket.socket) -> int:
    """Runs `count` processes of `target` until SIGTERM or SIGINT; the exit code is the worst of theirs."""
    context = multiprocessing.get_context("spawn")
    stopping = False

    def start() -> SpawnProcess:
        process = context.Process(target=target, args=(listener,))
        process.start()
        return process

    processes = [start() for _ in range(count)]

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for process in processes:
            process.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopping:
        wait([process.sentinel for process in processes])
        for index, process in enumerate(processes):
            if not process.is_alive() and not stopping:
                log.error("worker %d ended with %s; starting another", process.pid, process.exitcode)
                processes[index] = start()
    for process in processes:
        process.join()
    return max(abs(process.exitcode or 0) for process in processes)
