"""The real program: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from energy.service import Service
from energy.store import migrations
from support.fixtures import StartProcess, StartService
from support.postgres import TestServer, execute, query
from support.samples import reading
from support.service import ServiceProcess, ServiceThread, client_of, energy, program
from tools.local.waiting import until


def test_while_draining_it_is_not_ready_and_still_serves(start_process: StartProcess) -> None:
    service = start_process(drain_delay_s=30)
    with client_of(service) as client:
        service.terminate()
        until(lambda: client.get("/readyz").status_code == 503, "readiness to end")
        assert client.get("/readyz").json()["detail"] == "stopping"
        assert client.post("/v1/values", json={"device_id": str(uuid4()), "value": 1}).status_code == 201
        assert client.post("/v1/readings/batch", json=[reading()]).status_code == 200
        assert client.get("/livez").status_code == 200
    service.terminate()  # a second signal skips the delay
    assert service.process.wait(30) == 0, service.output


def test_batches_are_refused_before_nobody_listens_any_more(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long one would hold the stop up; a client that is refused in words sends it to another pod at once."""
    service = start_service()
    refusing, looked_at = threading.Event(), threading.Event()
    stop_taking = Service.stop_taking

    def slowly(of: Service) -> None:
        stop_taking(of)
        refusing.set()
        assert looked_at.wait(30)  # the server stops listening when this returns

    monkeypatch.setattr(Service, "stop_taking", slowly)
    stopping = threading.Thread(target=service.stop)
    stopping.start()
    assert refusing.wait(30)
    with client_of(service) as client:
        batch = client.post("/v1/readings/batch", json=[reading()])
        single = client.post("/v1/readings", json=reading())
    looked_at.set()
    stopping.join()
    assert (batch.status_code, batch.json()["code"], single.status_code) == (503, "overloaded", 201)
    assert int(batch.headers["retry-after"]) > 0
    with pytest.raises(httpx.ConnectError), client_of(service) as client:
        client.get("/livez")


def test_several_workers_share_a_port_and_their_metrics(start_process: StartProcess) -> None:
    service = start_process("--workers", "2")
    for _ in range(20):  # connections are spread by the kernel
        with client_of(service) as client:
            assert client.post("/v1/values", json={"device_id": str(uuid4()), "value": 1}).status_code == 201
    with client_of(service) as client:  # each process adds its own up once per second
        answered = 'energy_requests_total{route="/v1/values",status="201"} 20.0'
        until(lambda: answered in client.get("/metrics").text, "the sum of both")
    assert service.stop() == 0, service.output


def workers_of(service: ServiceProcess) -> set[int]:
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text()
    return {pid for pid in map(int, children.split()) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gauges_of(pid: int, directory: Path) -> list[Path]:
    return list(directory.glob(f"gauge_live*_{pid}.db"))


def test_a_killed_worker_is_replaced_and_leaves_the_sums(start_process: StartProcess) -> None:
    service = start_process("--workers", "2")
    until(lambda: len(workers_of(service)) == 2, "two workers")
    killed = min(workers_of(service))
    variables = dict(pair.split("=", 1) for pair in Path(f"/proc/{killed}/environ").read_text().split("\0") if pair)
    directory = Path(variables["PROMETHEUS_MULTIPROC_DIR"])
    until(lambda: gauges_of(killed, directory), "the worker's gauges")
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(workers_of(service) - {killed}) == 2, "another worker")
    assert not gauges_of(killed, directory)
    assert service.stop() == 0, service.output


def test_workers_end_when_their_parent_is_killed(start_process: StartProcess) -> None:
    service = start_process("--workers", "2")
    until(lambda: len(workers_of(service)) == 2, "two workers")
    workers = workers_of(service)
    service.process.kill()
    until(lambda: not any(map(runs, workers)), "the workers' end")


def test_without_a_schema_it_lives_and_is_not_ready(start_process: StartProcess, postgres: TestServer) -> None:
    dsn = postgres.empty()
    service = start_process(database_url=dsn, ready=False, request_timeout_s=0.5)
    with client_of(service) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "energy migrate" in answer.json()["detail"]
        refused = client.post("/v1/values", json={"device_id": str(uuid4()), "value": 1})
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert energy("migrate", database_url=dsn).returncode == 0
        until(lambda: client.get("/readyz").status_code == 200, "readiness after the migration")


def test_two_migrations_at_once_both_succeed(postgres: TestServer) -> None:
    dsn = postgres.empty()
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: program("migrate", database_url=dsn), range(2)))
    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    assert query(dsn, "SELECT version_num FROM alembic_version")[0]["version_num"] == migrations.head()


def test_after_a_rollback_the_older_program_leaves_the_newer_schema_as_it_is(postgres: TestServer) -> None:
    dsn = postgres.migrated()
    execute(dsn, "UPDATE alembic_version SET version_num = '9999'")
    run = energy("migrate", database_url=dsn)
    assert run.returncode == 0, run.stderr
    assert query(dsn, "SELECT version_num FROM alembic_version")[0]["version_num"] == "9999"
    with ServiceThread(dsn) as service, client_of(service) as client:
        assert client.get("/readyz").status_code == 200


def test_a_database_that_may_lose_what_it_acknowledged_is_refused() -> None:
    server = TestServer("-c", "fsync=off", "-c", "synchronous_commit=off")
    try:
        dsn = server.migrated()
        refused = energy("serve", database_url=dsn, auth="off", port=0)
        assert refused.returncode == 1, refused.stderr
        assert "`fsync` is off and `synchronous_commit` is off" in refused.stderr
        assert "ENERGY_ALLOW_UNSAFE_DATABASE=true" in refused.stderr
        with ServiceThread(dsn, allow_unsafe_database=True) as allowed, client_of(allowed) as client:
            assert client.get("/readyz").status_code == 200
    finally:
        server.close()


def test_a_database_that_is_not_there_yet_is_waited_for(start_process: StartProcess, tmp_path: Path) -> None:
    service = start_process(
        database_url=f"postgresql://x@/x?host={tmp_path}", ready=False, database_connect_timeout_s=0.5
    )
    with client_of(service) as client:
        assert client.get("/readyz").status_code == 503
    assert service.stop() == 0, service.output


def test_the_first_start_makes_its_own_database_and_the_second_finds_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("data")
    for rows in (1, 2):
        with ServiceProcess(data_dir=home / "pg") as service, client_of(service) as client:
            assert "its own PostgreSQL" in service.output
            body = {"device_id": "6f1c7d9e-7d5e-4c55-9d0b-000000000001", "value": 0}
            assert client.post("/v1/values", json=body).status_code == 201
            history = client.get(f"/v1/devices/{body['device_id']}/readings").json()["items"]
            assert len(history) == rows
            assert service.stop() == 0, service.output
    assert not (home / "pg" / "postmaster.pid").exists()


def test_a_time_zone_that_the_database_does_not_know_keeps_it_unready(start_process: StartProcess) -> None:
    """Python knows it, so the settings take it; PostgreSQL would refuse each reading because of it."""
    service = start_process(ready=False, time_zone="localtime")
    with client_of(service) as client:
        until(lambda: "ENERGY_TIME_ZONE" in client.get("/readyz").text, "the reason")
