"""POST /v1/readings/batch: three formats, a result for each item, all or nothing when asked."""

from __future__ import annotations

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from support.fixtures import StartService
from support.postgres import locked_readings, query
from support.raw import RawConnection, request
from support.samples import at, reading
from support.service import ServiceThread, client_of

CSV, NDJSON = {"content-type": "text/csv"}, {"content-type": "application/x-ndjson"}


def post(client: httpx.Client, items: list[Any], *, atomic: bool = False) -> httpx.Response:
    return client.post("/v1/readings/batch", params={"atomic": "true"} if atomic else None, json=items)


def stored(service: ServiceThread, device: UUID) -> int:
    return len(query(service.dsn, "SELECT 1 FROM readings WHERE device_id = $1", device))


def counts(answer: httpx.Response) -> tuple[int, int, int, int]:
    result = answer.json()
    return result["stored"], result["replayed"], result["refused"], result["undecided"]


def as_csv(items: list[dict[str, Any]]) -> bytes:
    names = list(items[0])
    return "\r\n".join([",".join(names), *[",".join(str(item[name]) for name in names) for item in items]]).encode()


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("shape", ["json", "ndjson", "csv", "csv with a byte order mark"])
def test_every_format_stores_the_same(
    client: httpx.Client, service: ServiceThread, shape: str, *, zipped: bool
) -> None:
    device = uuid4()
    items = [reading(device, f"{n}.5", register="T1", read_at=at(n - 60), reading_id=str(uuid4())) for n in range(50)]
    body, headers = {
        "json": (json.dumps(items).encode(), {"content-type": "application/json; charset=utf-8"}),
        "ndjson": ("\n".join(json.dumps(item) for item in items).encode(), NDJSON),
        "csv": (as_csv(items), CSV),
        "csv with a byte order mark": (b"\xef\xbb\xbf" + as_csv(items), CSV),
    }[shape]
    if zipped:
        body, headers = gzip.compress(body), {**headers, "content-encoding": "gzip"}
    answer = client.post("/v1/readings/batch", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert counts(answer) == (50, 0, 0, 0)
    assert [item["reading_id"] for item in answer.json()["items"]] == [item["reading_id"] for item in items]
    assert stored(service, device) == 50
    again = client.post("/v1/readings/batch", content=body, headers=headers)
    assert counts(again) == (0, 50, 0, 0)
    assert stored(service, device) == 50


def test_a_bad_item_costs_the_others_nothing(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    items = [reading(device, 1), {"device_id": "17"}, 5, reading(device, -1), reading(device, 2, register="T2")]
    answer = post(client, items)
    assert answer.status_code == 200
    assert [item["status"] for item in answer.json()["items"]] == [201, 422, 422, 422, 201]
    assert all(item["detail"] and item["code"] for item in answer.json()["items"][1:4])
    assert stored(service, device) == 2


def test_a_bad_csv_line_is_named_by_its_place(client: httpx.Client) -> None:
    body = f"device_id,value\n{uuid4()},1\n{uuid4()}\n{uuid4()},eleven\n{uuid4()},2\n".encode()
    answer = client.post("/v1/readings/batch", content=body, headers=CSV)
    assert [item["status"] for item in answer.json()["items"]] == [201, 422, 422, 201]


def test_people_in_a_batch_are_asked_too(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    assert counts(post(client, [reading(device, 500, read_at=at(-3))])) == (1, 0, 0, 0)
    answer = post(client, [reading(device, 50, source="person", read_at=at(-2)), reading(device, 501, read_at=at(-1))])
    assert [item["status"] for item in answer.json()["items"]] == [422, 201]
    assert answer.json()["items"][0]["code"] == "less_than_previous"
    assert stored(service, device) == 2


def test_readings_of_a_device_in_one_batch_are_compared_with_each_other(client: httpx.Client) -> None:
    device = uuid4()
    items = [
        reading(device, 120, read_at=at(-1)),
        reading(device, 100, read_at=at(-3)),
        reading(device, 90, read_at=at(-2)),
    ]
    flags = [item["flags"] for item in post(client, items).json()["items"]]
    assert flags == [["unmatched"], ["unmatched"], ["unmatched", "less_than_previous"]]


def test_readings_without_a_time_have_no_order_in_their_batch(client: httpx.Client) -> None:
    """They all were read 'now': which one is lower says nothing."""
    device = uuid4()
    items = [reading(device, value) for value in (100, 101, 102, 99, 103)]
    assert {tuple(item["flags"]) for item in post(client, items).json()["items"]} == {("unmatched",)}


def test_an_id_twice_in_a_batch_is_one_reading(client: httpx.Client, service: ServiceThread) -> None:
    device, reading_id = uuid4(), str(uuid4())
    one = reading(device, 5, reading_id=reading_id, read_at=at(-1))
    answer = post(client, [one, one, {**one, "value": 6}])
    assert [item["status"] for item in answer.json()["items"]] == [201, 200, 422]
    assert stored(service, device) == 1


@pytest.mark.parametrize("between", [0, 499, 1_200])
def test_an_id_twice_in_a_batch_is_stored_once_however_far_apart(client: httpx.Client, between: int) -> None:
    again = reading(uuid4(), 5, reading_id=str(uuid4()))
    others = [reading(uuid4(), 1) for _ in range(between)]
    answer = client.post("/v1/readings/batch", json=[again, *others, again]).json()
    assert (answer["stored"], answer["replayed"]) == (between + 1, 1)
    assert [answer["items"][at]["status"] for at in (0, -1)] == [201, 200]


@pytest.mark.parametrize("wrong", ["malformed", "conflict", "doubtful", "twice"])
def test_atomic_stores_nothing_when_one_cannot_be_stored(
    client: httpx.Client, service: ServiceThread, wrong: str
) -> None:
    device, good, taken = uuid4(), uuid4(), str(uuid4())
    assert post(client, [reading(device, 500, reading_id=taken, read_at=at(-3))]).status_code == 200
    bad: dict[str, Any] = {
        "malformed": reading(device, "eleven"),
        "conflict": reading(device, 501, reading_id=taken, read_at=at(-3)),
        "doubtful": reading(device, 5, source="person", read_at=at(-2)),
        "twice": reading(good, 7, reading_id=(shared := str(uuid4()))),
    }[wrong]
    first = reading(good, 1, reading_id=shared) if wrong == "twice" else reading(good, 1)
    answer = post(client, [first, bad], atomic=True)
    assert (answer.status_code, answer.json()["code"]) == (422, "not_all_stored")
    assert answer.json()["items"][-1]["index"] == 1
    assert (stored(service, good), stored(service, device)) == (0, 1)


def test_atomic_stores_all_and_may_be_repeated(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    items = [reading(device, n, reading_id=str(uuid4()), read_at=at(n - 9)) for n in range(5)]
    assert counts(post(client, items, atomic=True)) == (5, 0, 0, 0)
    assert counts(post(client, items, atomic=True)) == (0, 5, 0, 0)
    assert stored(service, device) == 5


def test_ten_thousand_at_once(client: httpx.Client) -> None:
    items = [reading(value=n, reading_id=str(uuid4())) for n in range(10_000)]
    answer = post(client, items)
    assert counts(answer) == (10_000, 0, 0, 0)


def test_what_a_batch_may_hold_is_bounded_by_its_settings(start_service: StartService) -> None:
    service = start_service(batch_items_max=3, batch_body_bytes_max=2048)
    with client_of(service) as client:
        assert post(client, [reading() for _ in range(3)]).status_code == 200
        assert post(client, [reading() for _ in range(4)]).status_code == 413
        bomb = gzip.compress(b" " * 1_000_000)
        answer = client.post("/v1/readings/batch", content=bomb, headers={"content-encoding": "gzip"})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_batches_that_do_not_arrive_keep_nobody_out(start_service: StartService) -> None:
    service = start_service(batch_requests_max=2)
    with ExitStack() as held:
        for _ in range(8):
            connection = held.enter_context(closing(RawConnection(service)))
            connection.send(request("POST", "/v1/readings/batch", b"[" + b" " * 1_000)[:-500])
        with client_of(service) as client:
            assert post(client, [reading()]).status_code == 200


def test_a_batch_that_gets_no_lane_is_told_so_in_time(start_service: StartService) -> None:
    service = start_service(bulk_lanes=1, batch_requests_max=8, request_timeout_s=1)
    with locked_readings(service.dsn), ThreadPoolExecutor(2) as pool, client_of(service) as client:
        began = time.monotonic()
        answers = list(pool.map(lambda _: post(client, [reading()]), range(2)))
        assert {answer.status_code for answer in answers} == {503}
        assert all("retry-after" in answer.headers for answer in answers)
        assert time.monotonic() - began < 4
