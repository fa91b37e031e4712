"""One run's folder, its lock, and the record of everything the run has put on the machine.

A test run that is killed can't tidy up. So each thing that outlives a process (a program, a network namespace, a link,
a cgroup, a changed kernel setting) is written into the record as it is made, and whoever comes next can undo what a
dead run left (see `remains`). A lock per folder says who is alive: the kernel lets go of it however its holder ends.

Knows nothing of Kubernetes.
"""

import fcntl
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

import psutil

from tools.local.waiting import until

STOP_TIMEOUT_S = 20.0
_HELD: set["Run"] = set()  # a forgotten Run must not lose its lock to the garbage collector while its programs run
KEPT = "kept"  # a file with this name: the run belongs to a person (`make cluster-up`), not to a process


class BusyError(RuntimeError):
    """Somebody else holds what this run needs."""


def runs_dir() -> Path:
    """Where runs live: on disk rather than in memory, and with a short path, since Unix sockets allow 108 bytes."""
    if os.geteuid() == 0:
        return Path("/var/lib/energy-cluster")
    return Path(tempfile.gettempdir()) / f"energy-cluster-{os.geteuid()}"


class Process:
    """A running program that was recorded when it was started; its output is in a file."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._popen = popen

    @property
    def pid(self) -> int:
        return self._popen.pid

    def alive(self) -> bool:
        return self._popen.poll() is None

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Asks it to end, waits until it has, and insists after a while."""
        self._popen.terminate()
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def freeze(self) -> None:
        """Stops it in its tracks, as a machine that hangs would."""
        self._popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._popen.send_signal(signal.SIGCONT)

    def last_words(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Run:
    """A folder that is ours as long as we hold its lock."""

    def __init__(self, folder: Path, lock: TextIOWrapper) -> None:
        self.folder = folder
        self._lock = lock
        self._started: list[subprocess.Popen[bytes]] = []
        _HELD.add(self)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def record(self, kind: str, value: str, **facts: str | int | list[str]) -> None:
        """Notes a thing before it is made, so that dying in between leaves nothing unknown."""
        with (self.folder / "record.jsonl").open("a") as record:
            record.write(json.dumps({"kind": kind, "value": value, **facts}) + "\n")

    def start(self, name: str, command: Sequence[str | Path], *, env: dict[str, str] | None = None) -> Process:
        self.logs.mkdir(exist_ok=True)
        log = self.logs / f"{name}.log"
        argv = [str(word) for word in command]
        with log.open("ab") as output:
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | (env or {}),
                start_new_session=True,  # Ctrl-C is for the tests; they stop the cluster in order
            )
        self._started.append(popen)
        self.record("process", name, pid=popen.pid, ticks=start_ticks(popen.pid), argv=argv)
        return Process(name, popen, log)

    def keep(self) -> None:
        """Leaves the run to a person: it goes on when this process ends, and no other run may tidy it away."""
        (self.folder / KEPT).touch()
        self._let_go()

    def close(self) -> None:
        """Gives the folder up after `remains.remove` has ended everything in it."""
        for popen in self._started:
            popen.wait(STOP_TIMEOUT_S)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._let_go()

    def _let_go(self) -> None:
        self._lock.close()
        _HELD.discard(self)


def start_ticks(pid: int) -> int:
    """When a process started, in the kernel's own ticks: with it a number that was given out again is told apart."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def open_run(name: str, *, wait_s: float = 0.0) -> Run:
    """Makes a run's folder and takes its lock; waits for whoever holds it, and in the end says who that is."""
    folder = runs_dir() / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock_file(name).open("a+")
    try:
        until(lambda: _locked(lock), f"{name} is free", timeout_s=wait_s)
    except TimeoutError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise BusyError(f"another run holds {folder}: {holder}") from None
    if (folder / KEPT).exists():
        lock.close()
        raise BusyError("a cluster is up that somebody started with `make cluster-up`; end it with `make cluster-down`")
    lock.truncate(0)
    lock.write(f"pid {os.getpid()}: {' '.join(psutil.Process().cmdline())[:200]}")
    lock.flush()
    folder.mkdir(parents=True, exist_ok=True)  # its last holder may have removed it while we waited
    return Run(folder, lock)


def open_any_run(kind: str) -> Run:
    """Takes the first folder of its kind that nobody holds: runs of this kind go on side by side."""
    for number in itertools.count(1):
        try:
            return open_run(f"{kind}-{number}")
        except BusyError:
            continue
    raise AssertionError("numbers don't end")


def kept_run(name: str) -> Path | None:
    """The folder of the run that `make cluster-up` left to a person."""
    folder = runs_dir() / name
    return folder if (folder / KEPT).exists() else None


@contextmanager
def resumed(name: str) -> Iterator[Run]:
    """A person's run, to change something in it; afterwards it is theirs again."""
    folder = kept_run(name)
    if folder is None:
        raise BusyError("no cluster is up; start one with `make cluster-up`")
    lock = _lock_file(name).open("a+")
    if not _locked(lock):
        lock.close()
        raise BusyError(f"another command works on {folder}; try again when it has ended")
    run = Run(folder, lock)
    try:
        yield run
    finally:
        run.keep()


def dead_runs() -> Iterator[Path]:
    """The folders of runs whose process is gone; each is locked while the caller looks at it."""
    for folder in sorted(path for path in runs_dir().glob("*") if path.is_dir()):
        with _lock_file(folder.name).open("a+") as lock:
            if _locked(lock) and folder.is_dir() and not (folder / KEPT).exists():
                yield folder


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Runs are made and tidied one after the other, or one would take another's fresh folder for a dead one."""
    runs_dir().mkdir(parents=True, exist_ok=True)
    with (runs_dir() / "runs.lock").open("w") as lock:
        deadline = time.monotonic() + 120
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise BusyError(f"{lock.name} is held by another run")
            time.sleep(0.1)
        yield


def _lock_file(name: str) -> Path:
    runs_dir().mkdir(parents=True, exist_ok=True)
    return runs_dir() / f"{name}.lock"  # beside the folder: a lock inside would go with it


def _locked(lock: TextIOWrapper) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
