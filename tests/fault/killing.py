"""kill -9, for PostgreSQL and for the service, and the way back up."""

from __future__ import annotations

import contextlib
import random
import signal

import psutil

from energy.store.embedded import EmbeddedPostgres
from support.service import ServiceProcess
from tools.local.waiting import until

_GONE_TIMEOUT_S = 20.0


def postmaster_of(postgres: EmbeddedPostgres) -> psutil.Process:
    """The server's first process; all others are its children."""
    return psutil.Process(int((postgres.data_dir / "postmaster.pid").read_text().split()[0]))


def processes_of(postgres: EmbeddedPostgres) -> list[psutil.Process]:
    """The postmaster, and after it every backend."""
    postmaster = postmaster_of(postgres)
    return [postmaster, *postmaster.children(recursive=True)]


def kill_all_of(postgres: EmbeddedPostgres) -> None:
    """The postmaster and every backend at once, as when the machine's memory ran out."""
    kill_with_children(processes_of(postgres))
    _ = postgres.running  # whoever has started it asks how it ended, or it stays a zombie


def kill_with_children(processes: list[psutil.Process]) -> None:
    """These, of which the first is the others' parent, and what it has started since."""
    with contextlib.suppress(psutil.NoSuchProcess):
        processes[0].suspend()  # or it would start new children between two kills
        processes = [*processes, *processes[0].children(recursive=True)]
    _kill(processes)


def kill_postmaster_of(postgres: EmbeddedPostgres) -> None:
    """The postmaster alone: its backends notice and end by themselves, some of them after another commit."""
    postmaster = postmaster_of(postgres)
    children = postmaster.children(recursive=True)
    _kill([postmaster])
    _, left = psutil.wait_procs(children, _GONE_TIMEOUT_S)
    assert not left, f"these outlived their postmaster: {left}"
    _ = postgres.running  # whoever has started it asks how it ended, or it stays a zombie


def kill_one_of(postgres: EmbeddedPostgres, chance: random.Random) -> None:
    """One child: a backend of the service, or the one that writes the log. Returns once the postmaster has ended all others, too.

    Only then is the database away; whoever asks before that is answered by what is about to be killed.
    """
    before = postmaster_of(postgres).children()
    children = until(
        lambda: [child for child in postmaster_of(postgres).children() if _serves(child)],
        "a process that serves: the round before may have killed all of them",
    )
    chance.choice(children).send_signal(signal.SIGKILL)
    _, left = psutil.wait_procs(before, _GONE_TIMEOUT_S)
    assert not left, f"these outlived a crash: {left}"


def kill_service(service: ServiceProcess) -> None:
    """The service, in the middle of whatever it does."""
    _kill([psutil.Process(service.process.pid)])
    service.process.wait(_GONE_TIMEOUT_S)


def _serves(process: psutil.Process) -> bool:
    title = " ".join(_title(process))
    return "walwriter" in title or "idle" in title or "INSERT" in title or "BIND" in title


def _title(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(processes, _GONE_TIMEOUT_S)
    assert not left, f"kill -9 left these: {left}"
