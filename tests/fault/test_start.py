"""The start of the service on its own PostgreSQL: what dies, what is in the way, and who says stop, at each of its stages."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from energy.store.data_dir import EmbeddedUnavailable
from energy.store.embedded import EmbeddedPostgres
from energy.store.keeping import KeptRunning
from fault import killing
from support.postgres import query
from support.service import PROGRAM, ServiceProcess, energy, environment
from tools.local.waiting import until

Stage = Callable[[Path], bool]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="energy-test-start-"))
    home.chmod(0o755)
    yield home / "data"
    for process in working_in(home):
        process.kill()
    shutil.rmtree(home)


@pytest.fixture
def made(data_dir: Path) -> Path:
    """A directory with a whole database, of which nobody runs."""
    with kept(EmbeddedPostgres(data_dir)):
        pass
    return data_dir


@contextmanager
def kept(server: EmbeddedPostgres) -> Iterator[KeptRunning]:
    with KeptRunning(server) as running:
        asyncio.run(running.started())
        yield running


def working_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def initdb_runs(data_dir: Path) -> bool:
    return any(data_dir.glob(".making-*/*"))


def server_is_started(data_dir: Path) -> bool:
    return len(EmbeddedPostgres(data_dir)._noted()) > 1


def server_is_ready(data_dir: Path) -> bool:
    return EmbeddedPostgres(data_dir)._takes_connections()


def schema_is_begun(data_dir: Path) -> bool:
    if not server_is_ready(data_dir):
        return False
    dsn = EmbeddedPostgres(data_dir).dsn
    return bool(query(dsn, "SELECT to_regclass('alembic_version') AS begun")[0]["begun"])


STAGES = [
    pytest.param(initdb_runs, id="initdb"),
    pytest.param(server_is_started, id="PostgreSQL starts"),
    pytest.param(server_is_ready, id="PostgreSQL is ready"),
    pytest.param(schema_is_begun, id="migration"),
]


class Starting:
    """`energy serve`, not waited for."""

    def __init__(self, data_dir: Path) -> None:
        self.log = data_dir.parent / "service.log"
        with self.log.open("ab") as written:
            self.process = subprocess.Popen(
                [PROGRAM, "serve"], env=environment(auth="off", port=0, data_dir=data_dir),
                stdout=written, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def greeted(self) -> bool:
        return "energy listens on" in self.log.read_text()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


def soon(ask: Callable[[], bool], what: str) -> None:
    """As `until`, without a pause: a stage can be over in milliseconds."""
    until(lambda: any(ask() for _ in range(200)), what)


@pytest.mark.parametrize("stage", STAGES)
def test_sigterm_while_it_starts_ends_it_with_0_and_leaves_nothing_running(data_dir: Path, stage: Stage) -> None:
    service = Starting(data_dir)
    soon(lambda: stage(data_dir), "the stage")
    assert service.stop() == 0, service.log.read_text()
    assert not working_in(data_dir)
    with kept(EmbeddedPostgres(data_dir)) as running:  # and what it left is a database, or becomes one
        assert query(running.dsn, "SELECT 1 AS one")[0]["one"] == 1


def test_sigterm_right_after_the_greeting_ends_it_with_0(made: Path) -> None:
    service = Starting(made)
    soon(lambda: service.greeted, "the greeting")
    assert service.stop() == 0, service.log.read_text()
    assert not working_in(made)


def test_sigterm_right_after_the_greeting_ends_its_workers_too(made: Path) -> None:
    service = ServiceProcess("--workers", "2", data_dir=made, ready=False)
    assert service.stop() == 0, service.output
    assert not working_in(made)


def test_ctrl_c_in_the_middle_of_a_command_is_130_and_leaves_nothing_running(data_dir: Path) -> None:
    command = subprocess.Popen([PROGRAM, "migrate"], env=environment(data_dir=data_dir), stderr=subprocess.PIPE)
    soon(lambda: server_is_started(data_dir), "the server")
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=60)
    assert (command.returncode, said.decode().splitlines()[-1]) == (130, "energy: interrupted")
    assert not working_in(data_dir)


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_killed_while_it_starts_is_started_again(data_dir: Path, stage: Stage) -> None:
    service = Starting(data_dir)
    soon(lambda: stage(data_dir), "the stage")
    killed = [process for process in working_in(data_dir) if process.name() in ("initdb", "postgres")]
    oldest = min(killed, key=lambda process: process.create_time())
    oldest.kill()
    until(lambda: service.greeted or service.process.poll() is not None, "the greeting")
    assert service.stop() == 0, service.log.read_text()
    assert not working_in(data_dir)


def test_a_service_that_was_killed_stops_its_postgres_the_next_time(made: Path) -> None:
    with ServiceProcess(data_dir=made) as service:
        killing.kill_service(service)
    assert EmbeddedPostgres(made).running
    with ServiceProcess(data_dir=made) as service:
        assert service.stop() == 0
    assert not working_in(made)


def test_of_two_services_on_one_directory_the_last_stops_the_database(made: Path) -> None:
    with ServiceProcess(data_dir=made) as first, ServiceProcess(data_dir=made) as second:
        assert first.stop() == 0
        assert EmbeddedPostgres(made).running
        assert second.stop() == 0
    assert not working_in(made)


def test_a_port_that_is_taken_is_said_before_a_database_is_started(data_dir: Path, made: Path) -> None:
    with ServiceProcess(data_dir=made) as first:
        refused = energy("serve", "--port", str(first.address[1]), data_dir=data_dir.parent / "other", auth="off")
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "Choose another with ENERGY_PORT" in refused.stderr
        assert not (data_dir.parent / "other").exists()


def with_a_half_made_database(data_dir: Path) -> None:
    (data_dir / ".making-1" / "base").mkdir(parents=True)
    (data_dir / ".making-1" / "PG_VERSION").write_text("18\n")


def moved_up_by_half(data_dir: Path) -> None:
    with kept(EmbeddedPostgres(data_dir)):
        pass
    (data_dir / ".made").mkdir()
    for name in ("base", "PG_VERSION"):
        (data_dir / name).rename(data_dir / ".made" / name)


def with_an_empty_lock_file(data_dir: Path) -> None:
    with kept(EmbeddedPostgres(data_dir)):
        pass
    (data_dir / "postmaster.pid").touch()
    shutil.chown(data_dir / "postmaster.pid", data_dir.owner())


@pytest.mark.parametrize("state", [with_a_half_made_database, moved_up_by_half, with_an_empty_lock_file])
def test_a_directory_as_a_power_cut_leaves_it_becomes_a_whole_one(
    data_dir: Path, state: Callable[[Path], None]
) -> None:
    state(data_dir)
    with kept(EmbeddedPostgres(data_dir)) as running:
        assert query(running.dsn, "SELECT 1 AS one")[0]["one"] == 1
    assert not [entry for entry in data_dir.iterdir() if entry.name.startswith(".")]


def is_a_file(data_dir: Path) -> None:
    data_dir.write_text("")


def has_other_files(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "letters.txt").write_text("")


def of_an_older_postgresql(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "PG_VERSION").write_text("16\n")


def without_its_control_file(data_dir: Path) -> None:
    with kept(EmbeddedPostgres(data_dir)):
        pass
    (data_dir / "global" / "pg_control").unlink()


def open_to_everybody(data_dir: Path) -> None:
    with kept(EmbeddedPostgres(data_dir)):
        pass
    data_dir.chmod(0o777)


def with_a_wrong_setting(data_dir: Path) -> None:
    with kept(EmbeddedPostgres(data_dir)):
        pass
    with (data_dir / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = much\n")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (is_a_file, "File exists"),
        (has_other_files, "has files in it (letters.txt)"),
        (of_an_older_postgresql, "is one of PostgreSQL 16"),
        (without_its_control_file, "could not find the database system"),
        (open_to_everybody, "has invalid permissions"),
        (with_a_wrong_setting, 'invalid value for parameter "shared_buffers": "much"'),
    ],
)
def test_a_directory_that_cannot_be_used_is_one_sentence(
    data_dir: Path, state: Callable[[Path], None], said: str
) -> None:
    state(data_dir)
    refused = energy("migrate", data_dir=data_dir)
    assert (refused.returncode, refused.stderr.count("\n"), said in refused.stderr) == (1, 1, True), refused
    assert not working_in(data_dir)


def test_a_disk_that_is_full_is_said_and_leaves_nothing_behind(data_dir: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    data_dir.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", data_dir], check=False)
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        with pytest.raises(EmbeddedUnavailable, match="No space left on device"), kept(EmbeddedPostgres(data_dir)):
            pass
        assert not list(data_dir.iterdir())
    finally:
        subprocess.run(["umount", data_dir], check=True)


def test_connections_find_a_server_with_a_long_path_again_after_its_death(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir / ("long" * 25))
    with kept(server) as running:
        dsn = running.dsn
        killing.kill_all_of(server)
        until(server._takes_connections, "the server to be back")
        assert query(dsn, "SELECT 1 AS one")[0]["one"] == 1
    assert not Path(dsn.split("host=")[1]).exists()
