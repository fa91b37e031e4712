"""History: newest first, in pages, of a device or an account; and corrections of what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest

from support.fixtures import StartService
from support.postgres import query
from support.samples import NOW, add_meter, at, reading
from support.service import ServiceThread, client_of


def send(client: httpx.Client, device: UUID, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/readings", json=reading(device, **more))
    assert answer.status_code == 201, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


def pages(client: httpx.Client, path: str, **query_: Any) -> Iterator[list[dict[str, Any]]]:
    cursor: str | None = None
    while True:
        answer = client.get(path, params={**query_, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        yield answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return


def test_a_device_has_its_readings_newest_first_and_says_where_they_were_read(client: httpx.Client) -> None:
    device = uuid4()
    ids = [send(client, device, value=n, read_at=at(n - 10))["reading_id"] for n in range(3)]
    answer = client.get(f"/v1/devices/{device}/readings")
    assert answer.headers["energy-read-from"] == "primary"
    assert [item["reading_id"] for item in answer.json()["items"]] == ids[::-1]
    assert answer.json()["next_cursor"] is None


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_have_every_reading_once_also_where_times_are_equal(client: httpx.Client, limit: int) -> None:
    device = uuid4()
    sent = {send(client, device, value=n, read_at=at(-n // 3), register=f"T{n % 3}")["reading_id"] for n in range(9)}
    found = [item for page in pages(client, f"/v1/devices/{device}/readings", limit=limit) for item in page]
    assert [item["read_at"] for item in found] == sorted((item["read_at"] for item in found), reverse=True)
    assert sorted(item["reading_id"] for item in found) == sorted(sent)


def test_from_is_inclusive_and_to_is_not(client: httpx.Client) -> None:
    device = uuid4()
    for n in range(5):
        send(client, device, value=n, read_at=at(n - 10))
    found = client.get(f"/v1/devices/{device}/readings", params={"from": at(-9), "to": at(-7)}).json()["items"]
    assert [float(item["value"]) for item in found] == [2, 1]


def test_an_account_has_the_readings_of_all_its_meters(client: httpx.Client, service: ServiceThread) -> None:
    account, devices = f"Лицевой счёт {uuid4()}", [uuid4(), uuid4()]
    for device in devices:
        add_meter(service.dsn, device, account)
        send(client, device, value=1, read_at=at(-1))
    send(client, uuid4(), value=1)
    found = client.get(f"/v1/accounts/{quote(account)}/readings").json()["items"]
    assert {item["device_id"] for item in found} == {str(device) for device in devices}


def test_an_unknown_device_has_an_empty_history(client: httpx.Client) -> None:
    assert client.get(f"/v1/devices/{uuid4()}/readings").json() == {"items": [], "next_cursor": None}


def correct(client: httpx.Client, receipt: dict[str, Any], body: dict[str, Any], **headers: str) -> httpx.Response:
    path = f"/v1/readings/{receipt['device_id']}/{receipt['reading_id']}/correction"
    return client.post(path, json=body, headers=headers)


def test_a_correction_supersedes_and_keeps_what_it_corrects(client: httpx.Client) -> None:
    device = uuid4()
    wrong = send(client, device, value="1043.2", read_at=at(-1))
    answer = correct(client, wrong, {"value": "10432.5"})
    assert answer.status_code == 201, answer.text
    items = {i["reading_id"]: i for i in client.get(f"/v1/devices/{device}/readings").json()["items"]}
    assert items[wrong["reading_id"]]["status"] == "superseded"
    right = items[answer.json()["reading_id"]]
    assert (right["supersedes"], right["value"], right["source"]) == (wrong["reading_id"], "10432.500", "correction")
    assert right["read_at"] == items[wrong["reading_id"]]["read_at"]


def test_a_corrected_value_is_compared_with_no_more(client: httpx.Client) -> None:
    device = uuid4()
    wrong = send(client, device, value=900_000, read_at=at(-2))
    assert correct(client, wrong, {"value": 9000}).status_code == 201
    assert send(client, device, value=9001, read_at=at(-1))["flags"] == ["unmatched"]


def test_a_correction_can_be_repeated_and_made_once(client: httpx.Client) -> None:
    wrong = send(client, uuid4(), value=5)
    key = {"Idempotency-Key": "c1"}
    assert [correct(client, wrong, {"value": 6}, **key).status_code for _ in range(2)] == [201, 200]
    second = correct(client, wrong, {"value": 7})
    assert (second.status_code, second.json()["code"]) == (409, "already_superseded")


def test_of_two_corrections_at_once_one_wins(start_service: StartService) -> None:
    """Both find the reading uncorrected; they meet in one batch, because the only lane lingers."""
    service = start_service(lanes=1, linger_ms=100)
    with client_of(service) as client, ThreadPoolExecutor(2) as pool:
        wrong = send(client, uuid4(), value=5)
        answers = list(pool.map(lambda value: correct(client, wrong, {"value": value}), [6, 7]))
    first, second = sorted(answer.status_code for answer in answers)
    assert first == 201
    assert second in (409, 422)
    valid = query(service.dsn, "SELECT 1 FROM readings WHERE status <> 'superseded'")
    assert len(valid) == 1


def test_a_correction_of_nothing_is_404(client: httpx.Client) -> None:
    nothing = {"device_id": str(uuid4()), "reading_id": str(uuid4())}
    assert correct(client, nothing, {"value": 1}).status_code == 404


def test_a_person_who_corrects_is_asked_about_a_lower_value(client: httpx.Client) -> None:
    device = uuid4()
    send(client, device, value=100, read_at=at(-2))
    wrong = send(client, device, value=200, read_at=at(-1))
    assert correct(client, wrong, {"value": 20}).json()["code"] == "less_than_previous"
    assert correct(client, wrong, {"value": 20, "confirm": True}).status_code == 201


def _days_without(today: int) -> dict[str, int]:
    return {"window_from_day": 1, "window_to_day": 5} if today > 15 else {"window_from_day": 20, "window_to_day": 25}


def test_outside_of_the_window_nothing_is_corrected(start_service: StartService) -> None:
    service = start_service(time_zone="UTC", **_days_without(datetime.now(UTC).day))
    with client_of(service) as client:
        wrong = send(client, uuid4(), value=5)
        assert "out_of_window" in wrong["flags"]
        answer = correct(client, wrong, {"value": 6})
    assert (answer.status_code, answer.json()["code"]) == (409, "window_closed")


def test_a_reading_of_last_month_is_not_corrected_any_more(client: httpx.Client) -> None:
    wrong = send(client, uuid4(), value=5, read_at=(NOW - timedelta(days=40)).isoformat())
    assert correct(client, wrong, {"value": 6}).json()["code"] == "window_closed"


def test_the_window_is_told_in_the_zone_that_is_asked_for(client: httpx.Client, service: ServiceThread) -> None:
    answer = client.get("/v1/window", params={"tz": "Asia/Yekaterinburg"}).json()
    assert (answer["open"], answer["time_zone"]) == (True, "Asia/Yekaterinburg")
    assert answer["opens_at"].endswith("-01T00:00:00+05:00")
    zone_now = datetime.fromisoformat(answer["opens_at"])
    assert zone_now <= datetime.now(UTC) < datetime.fromisoformat(answer["closes_at"])
    assert client.get("/v1/window").json()["time_zone"] == service.settings.time_zone


def test_a_closed_window_says_when_the_next_one_opens(start_service: StartService) -> None:
    service = start_service(time_zone="UTC", **_days_without(datetime.now(UTC).day))
    with client_of(service) as client:
        answer = client.get("/v1/window").json()
    assert not answer["open"]
    assert datetime.fromisoformat(answer["opens_at"]) > datetime.now(UTC)


def test_a_late_reading_counts_for_the_next_period(start_service: StartService) -> None:
    service = start_service(time_zone="UTC", window_from_day=1, window_to_day=1)
    with client_of(service) as client:
        receipt = send(client, uuid4(), value=5, read_at="2026-10-15T00:00:00Z")
    assert receipt["period"] == "2026-11"


def test_pages_of_an_account_have_each_meters_reading_also_under_one_id(
    client: httpx.Client, service: ServiceThread
) -> None:
    account, devices, same = f"A-{uuid4()}", [uuid4() for _ in range(3)], str(uuid4())
    for device in devices:
        add_meter(service.dsn, device, account)
        send(client, device, value=1, read_at=at(-1), reading_id=same)
    found = [item for page in pages(client, f"/v1/accounts/{account}/readings", limit=1) for item in page]
    assert sorted(item["device_id"] for item in found) == sorted(str(device) for device in devices)


@pytest.mark.parametrize("years", [2, 36])
def test_a_time_years_ahead_is_refused(client: httpx.Client, years: int) -> None:
    later = (NOW + timedelta(days=365 * years)).isoformat()
    answer = client.post("/v1/readings", json=reading(read_at=later))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    receipt = send(client, uuid4(), value=5)
    assert correct(client, receipt, {"value": 5, "read_at": later}).json()["code"] == "invalid"


def test_a_correction_can_move_a_reading_to_its_right_time_and_register(client: httpx.Client) -> None:
    device = uuid4()
    wrong = send(client, device, value=5, read_at=(NOW + timedelta(days=200)).isoformat(), register="T2")
    assert "future" in wrong["flags"]
    answer = correct(client, wrong, {"value": 6, "read_at": at(-1), "register": "T1"})
    assert answer.status_code == 201, answer.text
    valid = [i for i in client.get(f"/v1/devices/{device}/readings").json()["items"] if i["status"] != "superseded"]
    assert [(i["register"], i["value"], i["period"]) for i in valid] == [("T1", "6.000", f"{NOW:%Y-%m}")]


def test_a_correction_brings_nothing_out_of_the_open_period(client: httpx.Client) -> None:
    wrong = send(client, uuid4(), value=5)
    for days in (-40, 40):
        moved = correct(client, wrong, {"value": 5, "read_at": (NOW + timedelta(days=days)).isoformat()})
        assert moved.json()["code"] == "window_closed"
