"""The task's own API: POST /v1/values and /v2/values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from support.fixtures import StartService
from support.postgres import query
from support.service import ServiceThread, client_of

PATHS = ["/v1/values", "/v2/values"]


@pytest.mark.parametrize("path", PATHS)
def test_a_value_is_in_the_tasks_table_when_201_comes(client: httpx.Client, service: ServiceThread, path: str) -> None:
    device = uuid4()
    answer = client.post(path, json={"device_id": str(device), "value": 0})
    assert answer.status_code == 201, answer.text
    rows = query(service.dsn, "SELECT mark_id, value FROM marks WHERE device_id = $1", device)
    assert [(str(row["mark_id"]), row["value"]) for row in rows] == [(answer.json()["reading_id"], 0)]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "nonsense"])
def test_old_meters_may_say_anything_of_their_body(client: httpx.Client, content_type: str) -> None:
    body = f'{{"device_id":"{uuid4()}","value":7,"firmware":"1.2"}}'
    answer = client.post("/v1/values", content=body, headers={"content-type": content_type})
    assert answer.status_code == 201, answer.text


def test_without_a_key_a_value_is_stored_as_often_as_it_is_sent(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    for _ in range(2):
        assert client.post("/v1/values", json={"device_id": str(device), "value": 5}).status_code == 201
    assert len(query(service.dsn, "SELECT 1 FROM readings WHERE device_id = $1", device)) == 2


@pytest.mark.parametrize("path", PATHS)
def test_with_a_key_it_is_stored_once_and_told_so(client: httpx.Client, service: ServiceThread, path: str) -> None:
    device = uuid4()
    body, key = {"device_id": str(device), "value": 5}, {"Idempotency-Key": "november"}
    first, again = client.post(path, json=body, headers=key), client.post(path, json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["reading_id"] == first.json()["reading_id"]
    assert len(query(service.dsn, "SELECT 1 FROM readings WHERE device_id = $1", device)) == 1


def test_the_same_key_of_another_device_is_another_reading(client: httpx.Client) -> None:
    for _ in range(2):
        body = {"device_id": str(uuid4()), "value": 5}
        assert client.post("/v1/values", json=body, headers={"Idempotency-Key": "november"}).status_code == 201


@pytest.mark.parametrize("strategy", ["group", "parallel", "sequential"])
def test_every_strategy_stores_each_of_many_at_once(start_service: StartService, strategy: str) -> None:
    service = start_service(write_strategy=strategy)
    devices = [uuid4() for _ in range(120)]
    with client_of(service) as client, ThreadPoolExecutor(12) as pool:
        path = "/v2/values" if strategy == "group" else "/v1/values"
        answers = list(pool.map(lambda d: client.post(path, json={"device_id": str(d), "value": 1}), devices))
    assert {answer.status_code for answer in answers} == {201}
    assert {row["device_id"] for row in query(service.dsn, "SELECT device_id FROM readings")} == set(devices)
