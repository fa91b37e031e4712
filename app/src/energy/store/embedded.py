"""A PostgreSQL of our own in a directory, for one machine: one server, started and stopped.

It listens on a socket inside the data directory only. Whoever uses it holds a lock on the directory's PG_VERSION, so that the
last one who leaves stops it, also when the one who started it was killed; whoever starts or stops it holds one on the
directory. How it is kept running meanwhile is in `energy.store.keeping`.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from energy.store.data_dir import (
    PAUSE_S,
    VERSION,
    EmbeddedUnavailable,
    Ended,
    Programs,
    ended,
    make,
    make_room,
    unusable,
)

__all__ = ["EmbeddedPostgres", "EmbeddedUnavailable"]

log = logging.getLogger(__name__)

START_TIMEOUT_S = 300
"""Recovery after a crash replays the log first; a minute's worth of peak takes seconds, a slow disk longer."""

STOP_TIMEOUT_S = 120
"""The last checkpoint writes what is in memory; beside other writers on the same disk that takes a while."""

LOG_BYTES_MAX = 8_388_608
"""Of PostgreSQL's own log; one older file of that size is kept."""

_AGAIN_S = 0.2
_OWN_FAILURES_MAX = 2
_SOCKET_PATH_MAX = 90  # the system's limit is 107 bytes with the file name
_SOCKETS_PREFIX = "energy-sockets-"
_SOCKETS_LINE, _STATUS_LINE = 4, 7  # of postmaster.pid
_PREFIX = re.compile(r"^[-0-9]+ \S+ \S+ \[\d+\] ")
"""What the log has in front of each message: when, and which process."""
_NO_PROCESS = 4_194_305
"""One more than the largest number that Linux gives a process."""


@dataclass(slots=True)
class EmbeddedPostgres:
    """One server on one directory. `options` are added to the server's command line (`-c name=value`)."""

    data_dir: Path
    options: tuple[str, ...] = ()
    programs: Programs = field(init=False)
    _child: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _use: BinaryIO | None = field(init=False, default=None)
    _sockets: Path | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.programs = Programs.installed()
        self.data_dir = self.data_dir.expanduser().resolve()

    @property
    def dsn(self) -> str:
        """How to reach it on this machine, once it runs."""
        return f"postgresql://postgres@/postgres?host={self._sockets or self._noted()[_SOCKETS_LINE]}"

    @property
    def running(self) -> bool:
        """Looks without starting a program: that would stop the whole service for milliseconds, every time."""
        return self._process() is not None

    def start(self) -> bool:
        """As `use`, but whoever leaves may stop it: for one who stops it by hand."""
        try:
            return self.use()
        finally:
            self._let_go()

    def use(self, stopping: threading.Event | None = None, deadline: float | None = None) -> bool:
        """Makes the directory if need be, and returns when the server takes connections; false when it was running already.

        There is one deadline for all of it. What is killed meanwhile is started again; what ends by itself is so once. False also
        when `stopping` is set meanwhile: `leave` ends what was begun. Raises `EmbeddedUnavailable`.
        """
        stopping = stopping or threading.Event()
        if self._use is None:
            make_room(self.data_dir)
        deadline = time.monotonic() + START_TIMEOUT_S if deadline is None else deadline
        own_failures = 0
        with self._alone(deadline, stopping):
            while not stopping.is_set():
                try:
                    return self._start(stopping, deadline)
                except OSError as error:
                    raise unusable(self.data_dir, error) from error
                except Ended as end:
                    own_failures += not end.killed
                    if own_failures == _OWN_FAILURES_MAX or time.monotonic() > deadline:
                        raise EmbeddedUnavailable(
                            f"the embedded database in {self.data_dir} does not start: {end}. Its log: {self.data_dir / 'log'}"
                        ) from end
                    if end.killed:
                        log.warning("the embedded database does not start: %s; trying again", end)
                stopping.wait(_AGAIN_S)
        return False

    def _start(self, stopping: threading.Event, deadline: float) -> bool:
        if self._use is None:  # later a directory that is gone is not made again: it would be empty
            if not make(self.data_dir, self.programs, stopping):
                return False
            self._use = (self.data_dir / VERSION).open("rb")
            fcntl.flock(self._use, fcntl.LOCK_SH)
        found = self.running
        said_bytes = 0
        if not found:
            self._clear_up()
            said_bytes = self._launch()
        while not self._takes_connections():
            if not self.running:
                raise self._end(said_bytes)
            if time.monotonic() > deadline:
                raise EmbeddedUnavailable(
                    f"the embedded database in {self.data_dir} is not ready after {START_TIMEOUT_S} s. "
                    f"{self.data_dir / 'log'} says what it is at; start again and it goes on."
                )
            if stopping.wait(PAUSE_S):
                return False
        self._sockets = Path(self._noted()[_SOCKETS_LINE])
        return not found

    def leave(self) -> None:
        """No longer uses it. The last one who leaves stops it; raises as `stop` does."""
        if self._use is None:
            return
        with self._alone(time.monotonic() + STOP_TIMEOUT_S):
            try:
                fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            finally:
                self._let_go()
            self._stop(signal.SIGINT)

    def _let_go(self) -> None:
        if self._use is not None:
            self._use.close()
            self._use = None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops it, whoever uses it, after finishing what is being written ('fast'). Does nothing when it is not running.

        Raises `EmbeddedUnavailable` when it is still at it after `STOP_TIMEOUT_S`: nothing is lost, it goes on by itself.
        """
        if self.running:
            with self._alone(time.monotonic() + STOP_TIMEOUT_S):
                self._stop(how)

    def _stop(self, how: signal.Signals) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        process = self._process()
        if process is None:
            return
        os.kill(process, how)
        while self.running:
            if time.monotonic() > deadline:
                raise EmbeddedUnavailable(
                    f"the embedded database in {self.data_dir} has not stopped within {STOP_TIMEOUT_S} s. Nothing is lost: "
                    f"it is still writing, and ends by itself. {self.data_dir / 'log'} says what it is at."
                )
            time.sleep(PAUSE_S)
        if self._sockets is not None:
            _remove_if_ours(self._sockets)

    def rotate_log(self) -> None:
        """PostgreSQL appends to it for ever: the older half of what is kept is dropped."""
        current, older = self.data_dir / "log", self.data_dir / "log.1"
        if current.exists() and current.stat().st_size > LOG_BYTES_MAX:
            shutil.copy(current, older)
            self.programs.give(older)  # a backup reads it
            os.truncate(current, 0)

    @contextlib.contextmanager
    def _alone(self, deadline: float, stopping: threading.Event | None = None) -> Iterator[None]:
        """Two who start, or one who starts and one who stops, would be in each other's way."""
        try:
            directory = os.open(self.data_dir, os.O_RDONLY)
        except OSError as error:
            raise unusable(self.data_dir, error) from error
        try:
            while not _locked(directory) and not (stopping and stopping.is_set()):
                if time.monotonic() > deadline:
                    raise EmbeddedUnavailable(
                        f"another process is starting or stopping the embedded database in {self.data_dir}, and has not ended "
                        "in time. End it, and start again."
                    )
                time.sleep(PAUSE_S)
            yield
        finally:
            os.close(directory)

    def _process(self) -> int | None:
        """The server's first process.

        After a power cut the number in its file may be another process's. A server works in its data directory; one that
        has ended, and that nobody has asked how, works nowhere.
        """
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        try:
            pid = int(self._noted()[0])
            return pid if Path(f"/proc/{pid}/cwd").samefile(self.data_dir) else None
        except (IndexError, ValueError, OSError):  # somebody else's process may not be looked at: ours may
            return None

    def _noted(self) -> list[str]:
        """The lines of postmaster.pid."""
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _takes_connections(self) -> bool:
        lines = self._noted()
        return (
            len(lines) > _STATUS_LINE
            and lines[_STATUS_LINE].strip() in ("ready", "standby")
            and lines[0] == str(self._process())
        )

    def _clear_up(self) -> None:
        """Behind a server that did not end by itself.

        Its file is kept, for PostgreSQL looks up in it whether any of its processes is left. But where its number is another
        process's by now, or a power cut has left it empty, PostgreSQL would not start because of that.
        """
        noted = self.data_dir / "postmaster.pid"
        if not noted.exists():
            return
        lines = self._noted()
        if len(lines) > _SOCKETS_LINE and Path(lines[_SOCKETS_LINE]) != self._sockets:
            _remove_if_ours(Path(lines[_SOCKETS_LINE]))
        with (self.data_dir / "postmaster.pid").open(
            "r+"
        ) as file:  # the same file: its owner has to stay the server's user
            file.write("\n".join([str(_NO_PROCESS), *lines[1:], ""]))
            file.truncate()

    def _launch(self) -> int:
        """Returns how long the log is before what this server says."""
        options = shlex.split(" ".join(self.options))
        with (self.data_dir / "log").open("ab") as output:
            said_bytes = output.tell()  # before there is a child: it has the same place in the file
            self.programs.give(self.data_dir / "log")  # a backup reads it
            self._child = self.programs.run(
                "postgres", "-D", self.data_dir, "-h", "", "-k", self._socket_dir(), *options,
                cwd=self.data_dir, output=output,
            )  # fmt: skip
        return said_bytes

    def _end(self, said_bytes: int) -> Ended:
        """Why it is not there any more. A server that ends by itself takes its file away, unless others' processes are left."""
        if self._child is None or self._child.returncode is None:
            return Ended("it ended while it started", killed=True)
        with (self.data_dir / "log").open("rb") as file:
            file.seek(said_bytes)
            said = [_PREFIX.sub("", line) for line in file.read().decode(errors="replace").splitlines()]
        worst = next((at for at, line in enumerate(said) if not line.startswith("LOG:")), len(said) - 1)
        return ended(self._child.returncode, said[max(worst - 1, 0) : worst + 2], killed=bool(self._noted()))

    def _socket_dir(self) -> Path:
        """Whoever reaches the socket is the database's superuser: the directory (mode 0700) is the server's user's.

        It stays the same for as long as this process uses the server: connections go there.
        """
        if len(str(self.data_dir)) <= _SOCKET_PATH_MAX:
            return self.data_dir
        if self._sockets is None:
            self._sockets = Path(tempfile.mkdtemp(prefix=_SOCKETS_PREFIX))
        elif not self._sockets.exists():
            self._sockets.mkdir(mode=0o700)
        self.programs.give(self._sockets)
        return self._sockets


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_if_ours(sockets: Path) -> None:
    if sockets.name.startswith(_SOCKETS_PREFIX):
        shutil.rmtree(sockets, ignore_errors=True)
