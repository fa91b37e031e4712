"""A backup, a lost disk, a restore: the commands of docs/operations.md, run as they stand there.

Every row of every table is there again, and a client that repeats what it sent is answered as if nothing had happened.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from docs.pages import ROOT, commands
from energy.store import migrations
from energy.store.embedded import EmbeddedPostgres
from fault import killing
from support.postgres import TestServer, execute, query, run
from support.samples import add_meter, reading
from support.service import ServiceProcess, ServiceThread, client_of, energy, wait_until_ready
from tools.local.waiting import until

PAGE = "docs/operations.md"
TABLES = ("accounts", "meters", "readings", "api_keys", "alembic_version")
Sent = tuple[str, Any, dict[str, str]]


@pytest.fixture
def checkout() -> Iterator[Path]:
    """The repository as a person has it, but with a `build/` of its own: everything else is linked."""
    home = Path(tempfile.mkdtemp(prefix="energy-test-checkout-"))
    home.chmod(0o755)  # the database's own user has to get in
    for entry in ROOT.iterdir():
        if entry.name not in {"build", ".git"}:
            (home / entry.name).symlink_to(entry)
    (home / "build").mkdir()
    yield home
    shutil.rmtree(home)


def shell(script: str, where: Path, path: str = "", **environment: str) -> None:
    """Runs a block of the page. `make -o`: the tests' own environment is complete, whatever the clock says of its files."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", 'make() { command make -o .venv/ready "$@"; }\n' + script],
        cwd=where,
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rows_of(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """All there is, in an order that does not depend on where it lies."""
    return {table: sorted(map(tuple, query(dsn, f"SELECT * FROM {table}")), key=repr) for table in TABLES}  # noqa: S608 - our own names


def some_readings() -> list[Sent]:
    """One of each way in: the task's API with a key, one reading with its id, a batch."""
    value, batch = {"device_id": str(uuid4()), "value": 7}, [reading(reading_id=str(uuid4())) for _ in range(50)]
    return [
        ("/v1/values", value, {"Idempotency-Key": "october"}),
        ("/v1/readings", reading(reading_id=str(uuid4())), {}),
        ("/v1/readings/batch", batch, {}),
    ]


def statuses(client: httpx.Client, sent: list[Sent]) -> list[int]:
    """How each is answered; a batch by its readings."""
    found = []
    for path, body, headers in sent:
        answer = client.post(path, json=body, headers=headers)
        found += [item["status"] for item in answer.json()["items"]] if path.endswith("batch") else [answer.status_code]
    return found


def other_value(sent: Sent) -> Sent:
    path, body, headers = sent
    return path, {**body, "value": 8}, headers


def test_the_embedded_database_is_backed_up_while_it_runs_and_restored(checkout: Path) -> None:
    data, kept, later = checkout / "build/data", some_readings(), some_readings()
    database = EmbeddedPostgres(data)
    database.start()
    run(migrations.migrate(database.dsn, cockroach=False, timeout_s=10))
    with ServiceThread(database.dsn) as service, client_of(service) as client:
        assert set(statuses(client, kept)) == {201}
        shell(commands(PAGE, "make backup"), checkout)
        before = rows_of(database.dsn)
        assert set(statuses(client, later)) == {201}
        killing.kill_all_of(database)
    assert not database.running
    shutil.rmtree(data / "base")  # the disk
    shell(commands(PAGE, "cp -a"), checkout)
    with ServiceProcess(data_dir=data) as restored, client_of(restored) as client:
        assert rows_of(EmbeddedPostgres(data).dsn) == before
        assert len(before["readings"]) == len(statuses(client, kept))
        assert set(statuses(client, kept)) == {200}, "what the backup has is known"
        assert statuses(client, [other_value(kept[0])]) == [422]
        assert set(statuses(client, later)) == {201}, "what was lost is stored when it is sent again"
        assert set(statuses(client, later)) == {200}
        assert restored.stop() == 0


def test_an_external_postgresql_is_restored_under_a_running_service(postgres: TestServer, checkout: Path) -> None:
    dsn, kept, device = postgres.migrated(), some_readings(), uuid4()
    name = dsn.split("?")[0].rsplit("/", 1)[1]
    add_meter(dsn, device, "63-000001", zone="Europe/Samara")
    token = energy("keys", "create", "--scope", "ingest", database_url=dsn).stdout.strip()
    there = {"path": str(postgres.bin), "ENERGY_DATABASE_URL": dsn}
    with (
        ServiceThread(dsn, auth="keys", key_cache_ttl_s=0, request_timeout_s=2) as service,
        client_of(service) as client,
    ):
        client.headers["Authorization"] = f"Bearer {token}"
        assert set(statuses(client, kept)) == {201}
        before = rows_of(dsn)
        shell(commands(PAGE, "pg_dump"), checkout, **there)
        execute(postgres.postgres.dsn, f"DROP DATABASE {name} WITH (FORCE)")
        until(lambda: client.post("/v1/readings", json=reading()).status_code == 503, "the service to notice")
        execute(postgres.postgres.dsn, f"CREATE DATABASE {name} TEMPLATE template0")
        shell(commands(PAGE, "pg_restore"), checkout, **there)
        wait_until_ready(service)
        assert rows_of(dsn) == before
        assert set(statuses(client, kept)) == {200}, "the key is known, and so is what it sent"
        assert statuses(client, [other_value(kept[1])]) == [422]
        assert client.post("/v1/readings", json=reading(device)).status_code == 201
