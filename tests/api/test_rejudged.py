"""Readings that come late, at once or at one moment are flagged in the end as if they had come in order."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx
import pytest

from support.fixtures import StartService
from support.samples import add_meter, at, reading
from support.service import ServiceThread, client_of
from tools.local.waiting import until


def send(client: httpx.Client, device: UUID, value: int, hours: float, **more: object) -> httpx.Response:
    return client.post("/v1/readings", json=reading(device, value=value, read_at=at(hours), **more))


def flags(client: httpx.Client, device: UUID) -> Mapping[float, list[str]]:
    items = client.get(f"/v1/devices/{device}/readings").json()["items"]
    return {float(item["value"]): [flag for flag in item["flags"] if flag != "unmatched"] for item in items}


def test_a_reading_that_arrives_before_a_stored_one_has_that_one_flagged(client: httpx.Client) -> None:
    device = uuid4()
    assert send(client, device, 100, -24).status_code == 201
    assert send(client, device, 200, -72).status_code == 201
    until(lambda: flags(client, device)[100] == ["less_than_previous"], "the flag of the later reading")
    assert flags(client, device)[200] == []


def test_a_late_reading_takes_a_flag_back_that_it_explains(client: httpx.Client) -> None:
    device = uuid4()
    send(client, device, 0, -30 * 24)
    assert "spike" in send(client, device, 900, -29 * 24).json()["flags"]
    send(client, device, 450, -29.5 * 24)
    until(lambda: flags(client, device)[900] == [], "the flag to go")


@pytest.mark.parametrize(("first", "second"), [(100, 90_000), (90_000, 100)])
def test_two_values_of_one_moment_are_flagged_and_a_person_is_asked(
    client: httpx.Client, first: int, second: int
) -> None:
    device = uuid4()
    send(client, device, first, -24, source="person", confirm=True)
    asked = send(client, device, second, -24, source="person")
    assert (asked.status_code, "same_time" in asked.json()["flags"]) == (422, True), asked.text
    assert send(client, device, second, -24, source="person", confirm=True).status_code == 201
    until(lambda: flags(client, device) == {100: [], 90_000: ["same_time"]}, "the higher one to be flagged")


def test_a_person_is_asked_about_a_reading_that_is_more_than_the_next(client: httpx.Client) -> None:
    device = uuid4()
    send(client, device, 100, -24)
    asked = send(client, device, 200, -72, source="person")
    assert (asked.status_code, asked.json()["code"]) == (422, "doubtful")
    assert "more_than_next" in asked.json()["flags"]
    assert asked.json()["next"]["value"] == "100.000"


def test_a_pair_that_was_sent_at_once_is_found_right_afterwards(start_service: StartService) -> None:
    with client_of(start_service()) as client, ThreadPoolExecutor(2) as pool:
        devices = [uuid4() for _ in range(20)]
        for device in devices:
            pair = [pool.submit(send, client, device, value, hours) for value, hours in [(300, -48), (200, -24)]]
            assert [answer.result().status_code for answer in pair] == [201, 201]

        def all_flagged() -> bool:
            return all(flags(client, device)[200] == ["less_than_previous"] for device in devices)

        until(all_flagged, "the flags of the lower ones")


def test_a_refused_reading_is_compared_with_by_nobody(client: httpx.Client) -> None:
    device = uuid4()
    send(client, device, 1000, -72)
    batch = [
        reading(device, value=100_000, read_at=at(-48), source="person"),
        reading(device, value=1010, read_at=at(-24)),
    ]
    items = client.post("/v1/readings/batch", json=batch).json()["items"]
    assert [item["status"] for item in items] == [422, 201]
    assert flags(client, device)[1010] == []


def test_a_value_that_the_counter_cannot_show_is_flagged(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    add_meter(service.dsn, device, f"A-{device}", digits=5)
    assert send(client, device, 100_000, -24).json()["flags"] == ["beyond_counter"]
    asked = send(client, device, 100_000, -23, source="person")
    assert (asked.status_code, asked.json()["code"]) == (422, "doubtful")


def test_a_person_is_asked_because_of_a_reading_in_the_same_batch_that_is_stored(client: httpx.Client) -> None:
    device = uuid4()
    batch = [
        reading(device, value=1000, read_at=at(-48)),
        reading(device, value=5, read_at=at(-24), source="person"),
    ]
    assert [item["status"] for item in client.post("/v1/readings/batch", json=batch).json()["items"]] == [201, 422]


def test_nobody_is_asked_because_of_a_reading_in_the_same_batch_whose_id_is_taken(client: httpx.Client) -> None:
    device, taken = uuid4(), str(uuid4())
    assert send(client, device, 3, -72, reading_id=taken).status_code == 201
    batch = [
        reading(device, value=1000, read_at=at(-48), reading_id=taken),
        reading(device, value=5, read_at=at(-24), source="person"),
    ]
    assert [item["status"] for item in client.post("/v1/readings/batch", json=batch).json()["items"]] == [422, 201]
