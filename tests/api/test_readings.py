"""POST /v1/readings: identity, people and meters, flags."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import httpx
import pytest

from support.postgres import query
from support.samples import add_meter, at, reading
from support.service import ServiceThread


def post(client: httpx.Client, body: object, **headers: str) -> httpx.Response:
    return client.post("/v1/readings", json=body, headers=headers)


def test_the_receipt_says_what_was_stored(client: httpx.Client, service: ServiceThread) -> None:
    device, reading_id = uuid4(), uuid4()
    add_meter(service.dsn, device, f"A-{device}")
    body = reading(device, 10432.5, register="T1", read_at=at(-1), reading_id=str(reading_id))
    answer = post(client, body)
    assert answer.status_code == 201, answer.text
    receipt = answer.json()
    expected = {
        "device_id": str(device),
        "reading_id": str(reading_id),
        "register": "T1",
        "status": "accepted",
        "flags": [],
    }
    assert {**receipt, **expected} == receipt
    row = query(service.dsn, "SELECT register, value, status, source FROM readings WHERE reading_id = $1", reading_id)[
        0
    ]
    assert tuple(row) == ("T1", Decimal("10432.500"), "accepted", "meter")


@pytest.mark.parametrize("value", [0, 0.001, "0.5", 999999999.999, "999999999.999", 1e3, -0.0])
def test_every_decimal_in_range_is_stored_exactly(
    client: httpx.Client, service: ServiceThread, value: float | str
) -> None:
    device = uuid4()
    answer = post(client, reading(device, value))
    assert answer.status_code == 201, answer.text
    assert not answer.json()["value"].startswith("-")
    assert query(service.dsn, "SELECT value FROM readings WHERE device_id = $1", device)[0]["value"] == Decimal(
        str(value)
    )


def test_a_repeated_id_gets_the_first_answer_again(client: httpx.Client, service: ServiceThread) -> None:
    body = reading(reading_id=str(uuid4()), read_at=at(-1))
    first, again = post(client, body), post(client, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert len(query(service.dsn, "SELECT 1 FROM readings WHERE device_id = $1::text::uuid", body["device_id"])) == 1


@pytest.mark.parametrize(
    "change", [{"value": "10432.6"}, {"register": "T2"}, {"read_at": at(-2)}], ids=["value", "register", "time"]
)
def test_a_repeated_id_with_another_content_is_refused(client: httpx.Client, change: dict[str, object]) -> None:
    body = reading(reading_id=str(uuid4()), read_at=at(-1))
    assert post(client, body).status_code == 201
    answer = post(client, {**body, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, "id_taken")
    assert "10432.5" in answer.json()["detail"]


def test_a_repeated_header_key_with_another_value_is_refused(client: httpx.Client) -> None:
    body = reading()
    assert post(client, body, **{"Idempotency-Key": "k1"}).status_code == 201
    assert post(client, {**body, "value": 1}, **{"Idempotency-Key": "k1"}).status_code == 422


def test_a_person_is_asked_about_a_lower_value_and_may_confirm_it(client: httpx.Client) -> None:
    device = uuid4()
    assert post(client, reading(device, "10432.5", source="person", read_at=at(-2))).status_code == 201
    slipped = reading(device, "1043.2", source="person", read_at=at(-1))
    asked = post(client, slipped)
    assert (asked.status_code, asked.json()["code"]) == (422, "less_than_previous")
    assert asked.json()["previous"]["value"] == "10432.500"
    assert "10432.5" in asked.json()["detail"]
    stored = post(client, {**slipped, "confirm": True})
    assert stored.status_code == 201
    assert (stored.json()["status"], "less_than_previous" in stored.json()["flags"]) == ("flagged", True)


def test_a_person_is_asked_about_a_hundred_times_too_much(client: httpx.Client) -> None:
    device = uuid4()
    assert post(client, reading(device, "10432.5", source="person", read_at=at(-2))).status_code == 201
    asked = post(client, reading(device, "1043250", source="person", read_at=at(-1)))
    assert (asked.status_code, asked.json()["code"], asked.json()["flags"]) == (422, "doubtful", ["unmatched", "spike"])


def test_a_meter_is_never_refused_for_a_suspicious_value(client: httpx.Client) -> None:
    device = uuid4()
    assert post(client, reading(device, 500, read_at=at(-2))).status_code == 201
    lower = post(client, reading(device, 400, read_at=at(-1)))
    assert (lower.status_code, lower.json()["flags"]) == (201, ["unmatched", "less_than_previous"])


def test_a_counter_that_went_round_is_a_rollover(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    add_meter(service.dsn, device, f"A-{device}", digits=5)
    assert post(client, reading(device, 99990, read_at=at(-48))).status_code == 201
    assert post(client, reading(device, 12, read_at=at(-1))).json()["flags"] == ["rollover"]


def test_a_clock_that_is_ahead_is_flagged(client: httpx.Client) -> None:
    assert "future" in post(client, reading(read_at=at(2))).json()["flags"]


def test_registers_are_compared_with_themselves_only(client: httpx.Client) -> None:
    device = uuid4()
    assert post(client, reading(device, 500, register="T1", read_at=at(-2))).status_code == 201
    assert post(client, reading(device, 100, register="T2", read_at=at(-1))).json()["flags"] == ["unmatched"]


def test_the_request_id_of_a_client_comes_back(client: httpx.Client) -> None:
    assert post(client, reading(), **{"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert post(client, reading()).headers["x-request-id"]


def test_a_repeat_gets_the_time_that_is_stored_and_not_its_own(client: httpx.Client) -> None:
    body = reading(reading_id=str(uuid4()))
    first, again = (client.post("/v1/readings", json=body) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()


def test_a_repeat_of_what_was_corrected_says_that_it_is_superseded(client: httpx.Client) -> None:
    body = reading(reading_id=str(uuid4()), value=5)
    client.post("/v1/readings", json=body)
    path = f"/v1/readings/{body['device_id']}/{body['reading_id']}/correction"
    assert client.post(path, json={"value": 6}).status_code == 201
    assert client.post("/v1/readings", json=body).json()["status"] == "superseded"
