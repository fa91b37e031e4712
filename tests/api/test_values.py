"""The task's own API: POST /v1/values and /v2/values."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from support.postgres import query
from support.service import ServiceThread

PATHS = ["/v1/values", "/v2/values"]


@pytest.mark.parametrize("path", PATHS)
def test_a_value_is_in_the_tasks_table_when_201_comes(client: httpx.Client, service: ServiceThread, path: str):
    device = uuid4()
    answer = client.post(path, json={"device_id": str(device), "value": 0})
    assert answer.status_code == 201, answer.text
    rows = query(service.dsn, "SELECT mark_id, value FROM marks WHERE device_id = $1", device)
    assert [(str(row["mark_id"]), row["value"]) for row in rows] == [(answer.json()["reading_id"], 0)]
