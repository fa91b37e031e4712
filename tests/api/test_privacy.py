"""Who sees what: a key that only sends learns nothing of what is stored, a tenant sees the tenant's own time at a meter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from support.keys import make_key
from support.postgres import TestServer, execute, query
from support.samples import NOW, add_meter, at, reading
from support.service import ServiceThread, energy


@pytest.fixture(scope="module")
def service(postgres: TestServer) -> Iterator[ServiceThread]:
    with ServiceThread(postgres.migrated(), auth="keys") as running:
        yield running


def send(client: httpx.Client, headers: dict[str, str], device: UUID, value: int, **more: Any) -> httpx.Response:
    return client.post("/v1/readings", json=reading(device, value=value, **more), headers=headers)


def test_a_key_that_only_sends_learns_nothing_of_what_is_stored(client: httpx.Client, service: ServiceThread) -> None:
    device, same = uuid4(), str(uuid4())
    sender, reader = make_key(service.dsn, "ingest"), make_key(service.dsn, "ingest", "read")
    assert send(client, sender, device, 33_333, read_at=at(-48), reading_id=same).status_code == 201
    person: dict[str, Any] = {"read_at": at(-24), "source": "person"}
    lower, higher = send(client, sender, device, 5, **person), send(client, sender, device, 900_000, **person)
    before = send(client, sender, device, 900_000, read_at=at(-72), source="person")
    taken = send(client, sender, device, 7, read_at=at(-48), reading_id=same)
    correction = client.post(f"/v1/readings/{device}/{same}/correction", json={"value": 5}, headers=sender)
    batch = client.post("/v1/readings/batch", json=[reading(device, 5, **person)], headers=sender)
    assert [answer.status_code for answer in (lower, higher, before, taken, correction)] == [422, 422, 422, 422, 201]
    for answer in (lower, higher, before, taken, batch):
        assert "33333" not in answer.text
        assert at(-48)[:10] not in answer.text
        assert "previous" not in answer.json() or answer.json()["previous"] is None
    assert send(client, reader, device, 4, **person).json()["previous"] is not None


def test_a_repeat_of_equal_content_is_answered_whatever_the_key_may_read(
    client: httpx.Client, service: ServiceThread
) -> None:
    sender, device = make_key(service.dsn, "ingest"), uuid4()
    body = reading(device, value=5, read_at=at(-1), reading_id=str(uuid4()))
    assert [client.post("/v1/readings", json=body, headers=sender).status_code for _ in range(2)] == [201, 200]


@pytest.fixture
def moved(client: httpx.Client, service: ServiceThread, tmp_path: Path) -> tuple[UUID, str, str]:
    """A meter that was one account's until ten days ago and is another's since; both have sent a reading."""
    device, old, new = uuid4(), f"OLD-{uuid4()}", f"NEW-{uuid4()}"
    add_meter(service.dsn, device, old)
    admin = make_key(service.dsn, "admin")
    assert send(client, admin, device, 100, read_at=at(-20 * 24)).status_code == 201
    since = (NOW - timedelta(days=10)).isoformat()
    file = tmp_path / "moved.csv"
    file.write_text(f"account_no,time_zone,device_id,account_since\n{new},Europe/Samara,{device},{since}\n")
    run = energy("import", "meters", str(file), database_url=service.dsn)
    assert run.returncode == 0, run.stdout + run.stderr
    assert send(client, admin, device, 200, read_at=at(-5 * 24)).status_code == 201
    return device, old, new


def test_a_tenant_sees_the_own_time_at_a_meter_and_no_other(
    client: httpx.Client, service: ServiceThread, moved: tuple[UUID, str, str]
) -> None:
    device, old, new = moved
    seen = {}
    for account in (old, new):
        key = make_key(service.dsn, "ingest", "read", account=account)
        items = client.get(f"/v1/accounts/{account}/readings", headers=key).json()["items"]
        of_device = client.get(f"/v1/devices/{device}/readings", headers=key)
        seen[account] = ([item["value"] for item in items], of_device.status_code)
    assert seen == {old: (["100.000"], 403), new: (["200.000"], 200)}
    key = make_key(service.dsn, "ingest", "read", account=new)
    wide = {"from": at(-100 * 24)}
    for path in (f"/v1/devices/{device}/readings", f"/v1/accounts/{new}/readings"):
        items = client.get(path, params=wide, headers=key).json()["items"]
        assert [item["value"] for item in items] == ["200.000"]


def test_a_tenant_is_told_nothing_of_the_time_before_and_corrects_nothing_of_it(
    client: httpx.Client, service: ServiceThread, moved: tuple[UUID, str, str]
) -> None:
    device, _, new = moved
    key = make_key(service.dsn, "ingest", "read", account=new)
    asked = send(client, key, device, 5, read_at=at(-9 * 24), source="person")
    assert (asked.status_code, asked.json().get("previous")) == (422, None)
    assert "100" not in asked.json()["detail"]
    own = send(client, key, device, 5, read_at=at(-4 * 24), source="person")
    assert own.json()["previous"]["value"] == "200.000"
    (old,) = query(service.dsn, "SELECT reading_id FROM readings WHERE device_id = $1 AND value = 100", device)
    path = f"/v1/readings/{device}/{old['reading_id']}/correction"
    assert client.post(path, json={"value": 50, "confirm": True}, headers=key).status_code == 404


@pytest.mark.parametrize("source", ["import", "correction"])
def test_what_no_client_is_cannot_be_claimed(client: httpx.Client, service: ServiceThread, source: str) -> None:
    answer = send(client, make_key(service.dsn, "ingest"), uuid4(), 5, source=source)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_the_source_is_what_the_key_is_for(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    person = make_key(service.dsn, "ingest", "read", source="person")
    assert send(client, person, device, 100, read_at=at(-48)).status_code == 201
    assert send(client, person, device, 5, read_at=at(-24)).json()["code"] == "less_than_previous"
    claimed = send(client, person, device, 5, read_at=at(-24), source="meter")
    assert (claimed.status_code, claimed.json()["code"]) == (403, "forbidden")
    batch = client.post("/v1/readings/batch", json=[reading(device, 6, source="meter")], headers=person)
    assert batch.json()["items"][0]["status"] == 403
    assert client.post("/v1/values", json={"device_id": str(device), "value": 101}, headers=person).status_code == 201
    rows = query(service.dsn, "SELECT DISTINCT source FROM readings WHERE device_id = $1", device)
    assert [row["source"] for row in rows] == ["person"]


def test_every_reading_knows_the_key_that_sent_it(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    key = make_key(service.dsn, "ingest", "read")
    key_id = key["Authorization"].removeprefix("Bearer ").split(".")[0]
    receipt = send(client, key, device, 5, read_at=at(-1)).json()
    client.post("/v1/values", json={"device_id": str(device), "value": 6}, headers=key)
    client.post("/v1/readings/batch", json=[reading(device, 7)], headers=key)
    client.post(f"/v1/readings/{device}/{receipt['reading_id']}/correction", json={"value": 6}, headers=key)
    rows = query(service.dsn, "SELECT key_id FROM readings WHERE device_id = $1", device)
    assert [row["key_id"] for row in rows] == [key_id] * 4
    export = client.get("/v1/export", params={"period": receipt["period"]}, headers=make_key(service.dsn, "read"))
    assert key_id in export.text


def test_a_reading_of_a_time_before_keys_were_kept_has_none(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    send(client, make_key(service.dsn, "ingest"), device, 5)
    execute(service.dsn, "UPDATE readings SET key_id = NULL WHERE device_id = $1", device)
    items = client.get(f"/v1/devices/{device}/readings", headers=make_key(service.dsn, "read")).json()["items"]
    assert len(items) == 1
