"""API keys: who may do what, for how long, how often."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from prometheus_client import REGISTRY

from support.fixtures import StartService
from support.keys import make_key
from support.postgres import TestServer, execute
from support.samples import add_meter, reading
from support.service import ServiceThread, client_of
from tools.local.waiting import until

TTL_S = 0.5


@pytest.fixture(scope="module")
def service(postgres: TestServer) -> Iterator[ServiceThread]:
    with ServiceThread(postgres.migrated(), auth="keys", key_cache_ttl_s=TTL_S) as running:
        yield running


def post(client: httpx.Client, headers: dict[str, str], device: UUID | None = None) -> httpx.Response:
    return client.post("/v1/readings", json=reading(device), headers=headers)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer abc",
        "Bearer abc.",
        "Bearer .abc",
        "Basic YTpi",
        "Bearer a.b c",
        "Bearer nobody.0123456789abcdef0123",
    ],
)
def test_without_a_valid_key_nothing_is_answered(client: httpx.Client, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in [
        ("POST", "/v1/values"), ("POST", "/v2/values"), ("POST", "/v1/readings"), ("POST", "/v1/readings/batch"),
        ("GET", f"/v1/devices/{uuid4()}/readings"), ("GET", "/v1/accounts/1/readings"), ("GET", "/v1/progress"),
        ("GET", "/v1/export?period=2026-10"), ("POST", f"/v1/readings/{uuid4()}/{uuid4()}/correction"),
    ]:  # fmt: skip
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), path
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_probes_metrics_and_the_window_need_no_key(client: httpx.Client) -> None:
    assert {client.get(path).status_code for path in ("/livez", "/readyz", "/metrics", "/v1/window", "/docs")} == {200}


def test_the_secret_counts_and_not_the_id_alone(client: httpx.Client, service: ServiceThread) -> None:
    headers = make_key(service.dsn, "ingest")
    assert post(client, headers).status_code == 201
    forged = headers["Authorization"][:-1] + ("A" if headers["Authorization"][-1] != "A" else "B")
    assert post(client, {"Authorization": forged}).status_code == 401


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [("ingest", (201, 403)), ("read", (403, 200)), ("admin", (201, 200))],
    ids=["ingest", "read", "admin"],
)
def test_a_scope_allows_what_it_says(
    client: httpx.Client, service: ServiceThread, scope: str, statuses: tuple[int, int]
) -> None:
    headers = make_key(service.dsn, scope)
    read = client.get(f"/v1/devices/{uuid4()}/readings", headers=headers)
    assert (post(client, headers).status_code, read.status_code) == statuses


def test_a_key_of_one_device_speaks_for_no_other(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    headers = make_key(service.dsn, "ingest", "read", device=device)
    assert post(client, headers, device).status_code == 201
    assert post(client, headers).status_code == 403
    assert client.get(f"/v1/devices/{device}/readings", headers=headers).status_code == 200
    assert client.get(f"/v1/devices/{uuid4()}/readings", headers=headers).status_code == 403
    assert client.get("/v1/export?period=2026-10", headers=headers).status_code == 403
    batch = client.post("/v1/readings/batch", json=[reading(device), reading()], headers=headers)
    assert [item["status"] for item in batch.json()["items"]] == [201, 403]


def test_a_key_of_an_account_speaks_for_its_meters(client: httpx.Client, service: ServiceThread) -> None:
    device = uuid4()
    add_meter(service.dsn, device, "A-17")
    headers = make_key(service.dsn, "ingest", "read", account="A-17")
    assert post(client, headers, device).status_code == 201
    assert post(client, headers).status_code == 403
    assert client.get("/v1/accounts/A-17/readings", headers=headers).status_code == 200
    assert client.get("/v1/accounts/A-18/readings", headers=headers).status_code == 403
    assert client.get("/v1/progress", headers=headers).status_code == 403


def test_a_key_without_read_learns_nothing_of_what_is_stored(client: httpx.Client, service: ServiceThread) -> None:
    device, blind = uuid4(), make_key(service.dsn, "ingest")
    first = client.post("/v1/readings", json=reading(device, 987.654), headers=blind).json()
    lower = reading(device, 1, source="person")
    taken = reading(device, 2, reading_id=first["reading_id"])
    said = [client.post("/v1/readings", json=body, headers=blind) for body in (lower, taken)]
    said.append(client.post("/v1/readings/batch", json=[lower, taken], headers=blind))
    said.append(client.post("/v1/readings/batch?atomic=true", json=[lower, taken], headers=blind))
    assert [answer.status_code for answer in said] == [422, 422, 200, 422]
    assert not [answer.text for answer in said if "987" in answer.text]

    seeing = make_key(service.dsn, "ingest", "read")
    answer = client.post("/v1/readings", json=lower, headers=seeing).json()
    assert (answer["code"], answer["previous"]["value"]) == ("less_than_previous", "987.654")


def test_a_key_expires_even_while_it_is_remembered(client: httpx.Client, service: ServiceThread) -> None:
    headers = make_key(service.dsn, "ingest", expires=datetime.now(UTC) + timedelta(seconds=0.3))
    assert post(client, headers).status_code == 201
    until(lambda: post(client, headers).status_code == 401, "the key's end", timeout_s=0.3 + TTL_S + 5)


def test_a_revoked_key_ends_within_its_ttl(client: httpx.Client, service: ServiceThread) -> None:
    headers = make_key(service.dsn, "ingest")
    assert post(client, headers).status_code == 201
    execute(service.dsn, "UPDATE api_keys SET revoked_at = now()")
    revoked = time.monotonic()
    until(lambda: post(client, headers).status_code == 401, "the key's end", timeout_s=5)
    assert time.monotonic() - revoked < TTL_S + 0.5


def refusals_by_rate() -> float:
    return REGISTRY.get_sample_value("energy_shed_total", {"reason": "rate"}) or 0


def test_the_rate_of_one_key_is_its_own(start_service: StartService) -> None:
    service = start_service(auth="keys", rate_per_s=1, rate_burst=3)
    greedy, modest = make_key(service.dsn, "ingest"), make_key(service.dsn, "ingest")
    before = refusals_by_rate()
    with client_of(service) as client:
        answers = [post(client, greedy) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [201, 201, 201, 429, 429]
        assert answers[-1].json()["code"] == "rate_limited"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 3
        assert answers[-1].headers["ratelimit"].startswith('"key";r=0;t=')
        assert answers[-1].headers["ratelimit-policy"] == '"key";q=3;w=3'
        assert post(client, modest).status_code == 201
        assert refusals_by_rate() - before == 2


def test_known_keys_go_on_while_the_database_cannot_be_asked(start_service: StartService) -> None:
    """A key that is remembered needs no query; an unknown one is not refused as wrong but told to come back."""
    service = start_service(auth="keys", database_connect_timeout_s=0.5)
    known, unknown = make_key(service.dsn, "read"), make_key(service.dsn, "read")
    path = f"/v1/accounts/{uuid4()}/readings"
    with client_of(service) as client:
        assert client.get(path, headers=known).status_code == 200
        execute(service.dsn, "ALTER TABLE api_keys RENAME TO elsewhere")
        assert client.get(path, headers=known).status_code == 200
        answer = client.get(path, headers=unknown)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["retry-after"]
