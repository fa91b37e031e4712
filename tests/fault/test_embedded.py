"""The service and its own PostgreSQL on one machine, with nobody else to look after them."""

from __future__ import annotations

import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from energy.store import embedded
from energy.store.embedded import EmbeddedPostgres, EmbeddedUnavailable
from fault import killing
from support.postgres import query
from support.service import ServiceProcess, client_of
from tools.local.waiting import until


@pytest.fixture
def data_dir() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="energy-test-home-"))  # where the database's own user may enter
    home.chmod(0o755)
    yield home / "data"
    shutil.rmtree(home)


def test_a_service_whose_own_postgres_was_killed_brings_it_back(data_dir: Path) -> None:
    with ServiceProcess(data_dir=data_dir, request_timeout_s=1) as service, client_of(service) as client:
        device, postgres = str(uuid4()), EmbeddedPostgres(data_dir)
        assert send(client, device, 1) == 201
        killing.kill_all_of(postgres)
        until(lambda: send(client, device, 2) == 201, "the database to be back")
        assert values(client, device) >= {1.0, 2.0}
        assert service.stop() == 0
        assert not (data_dir / "postmaster.pid").exists(), "what it has started again, it also stops"


def test_a_killed_service_finds_its_readings_and_its_postgres_again(data_dir: Path) -> None:
    device = str(uuid4())
    with ServiceProcess(data_dir=data_dir) as service, client_of(service) as client:
        assert send(client, device, 1) == 201
        killing.kill_service(service)
        with ServiceProcess(data_dir=data_dir) as after, client_of(after) as client_after:
            assert values(client_after, device) == {1.0}
            assert after.stop() == 0
    EmbeddedPostgres(data_dir).stop()


def test_a_database_that_takes_long_to_stop_is_a_clear_message(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres = EmbeddedPostgres(data_dir)
    postgres.start()
    monkeypatch.setattr(embedded, "STOP_TIMEOUT_S", 1)
    postmaster = killing.postmaster_of(postgres)
    postmaster.suspend()
    with pytest.raises(EmbeddedUnavailable, match="Nothing is lost"):
        postgres.stop()
    postmaster.resume()
    until(lambda: not (data_dir / "postmaster.pid").exists(), "the database to end by itself")
    postgres.stop()  # there is nothing left to do


def send(client: httpx.Client, device: str, value: int) -> int:
    return client.post("/v1/values", json={"device_id": device, "value": value}).status_code


def values(client: httpx.Client, device: str) -> set[float]:
    items = client.get(f"/v1/devices/{device}/readings").json()["items"]
    return {float(item["value"]) for item in items}


def test_a_number_that_another_process_has_now_does_not_keep_the_database_from_starting(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    postgres.start()
    killing.kill_all_of(postgres)
    owner = postgres.programs.user
    noted = data_dir / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"], user=owner) as other:  # of the same user: PostgreSQL alone would wait for it
        noted.write_text("\n".join([str(other.pid), *noted.read_text().splitlines()[1:], ""]))
        try:
            again = EmbeddedPostgres(data_dir)
            assert again.start()
            again.stop()
        finally:
            other.kill()


def test_only_the_servers_user_reaches_the_socket_of_a_long_data_directory(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir / ("long" * 25))
    postgres.start()
    sockets = Path(postgres.dsn.split("host=")[1])
    try:
        assert sockets != postgres.data_dir
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert query(postgres.dsn, "SELECT 1 AS one")[0]["one"] == 1
    finally:
        postgres.stop()
    assert not sockets.exists()


def test_the_databases_log_does_not_grow_without_end(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    postgres.start()
    try:
        with (data_dir / "log").open("ab") as log:
            log.truncate(embedded.LOG_BYTES_MAX + 1)
        postgres.rotate_log()
        assert (data_dir / "log").stat().st_size == 0
    finally:
        postgres.stop()
