"""Handing out keys: over the API, by the file, and finding those that nobody uses."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from energy.ingest import lastuse
from support.fixtures import StartService
from support.keys import make_key
from support.postgres import TestServer, query
from support.samples import reading
from support.service import ServiceThread, client_of, energy
from tools.local.waiting import until


@pytest.fixture(scope="module")
def service(postgres: TestServer) -> Iterator[ServiceThread]:
    with ServiceThread(postgres.migrated(), auth="keys", key_cache_ttl_s=0.2) as running:
        yield running


@pytest.fixture
def admin(service: ServiceThread) -> dict[str, str]:
    return make_key(service.dsn, "admin")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def pages_of_keys(client: httpx.Client, headers: dict[str, str]) -> Iterator[httpx.Response]:
    after: str | None = ""
    while after is not None:
        page = client.get("/v1/keys", params={"after": after, "limit": 1}, headers=headers)
        yield page
        after = page.json()["next_after"]


def test_keys_are_made_used_listed_and_revoked_over_the_api(client: httpx.Client, admin: dict[str, str]) -> None:
    device = uuid4()
    wanted = [
        {"scopes": ["ingest"], "device_id": str(device), "source": "meter", "note": "meter 1"},
        {"scopes": ["ingest", "read"], "account_no": "A-1", "source": "person"},
    ]
    made = client.post("/v1/keys", json=wanted, headers=admin)
    assert made.status_code == 201, made.text
    token = made.json()["keys"][0]["token"]
    key_id = made.json()["keys"][0]["key_id"]
    assert client.post("/v1/readings", json=reading(device), headers=bearer(token)).status_code == 201
    listed: dict[str, dict[str, Any]] = {}
    for page in pages_of_keys(client, admin):
        assert token.split(".")[1] not in page.text
        listed |= {item["key_id"]: item for item in page.json()["items"]}
    assert (listed[key_id]["device_id"], listed[key_id]["source"], listed[key_id]["note"]) == (
        str(device), "meter", "meter 1",
    )  # fmt: skip
    assert [client.delete(f"/v1/keys/{key_id}", headers=admin).status_code for _ in range(2)] == [204, 404]
    until(
        lambda: client.post("/v1/readings", json=reading(device), headers=bearer(token)).status_code == 401, "the end"
    )


@pytest.mark.parametrize(
    "body",
    [
        [], {}, [{}], [{"scopes": []}], [{"scopes": ["root"]}], [{"scopes": ["read"], "source": "import"}],
        [{"scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}], [{"scopes": ["read"], "unknown": 1}],
        [{"scopes": ["read"]}] * 1001,
    ],
    ids=["none", "no list", "no scopes", "empty", "unknown scope", "source", "over", "unknown member", "too many"],
)  # fmt: skip
def test_keys_that_cannot_be_are_refused(client: httpx.Client, admin: dict[str, str], body: object) -> None:
    assert client.post("/v1/keys", json=body, headers=admin).status_code == 422


def test_only_an_admin_that_is_bound_to_nothing_hands_out_keys(client: httpx.Client, service: ServiceThread) -> None:
    bound = make_key(service.dsn, "admin", account="A-1")
    for headers in (make_key(service.dsn, "ingest", "read"), bound):
        assert client.get("/v1/keys", headers=headers).status_code == 403
        assert client.post("/v1/keys", json=[{"scopes": ["admin"]}], headers=headers).status_code == 403
        assert client.delete("/v1/keys/x", headers=headers).status_code == 403


def test_keys_are_made_from_a_file_for_many_at_once(database: str, tmp_path: Path) -> None:
    file, output = tmp_path / "accounts.csv", tmp_path / "tokens.csv"
    file.write_text("account_no,scopes,source,days\n" + "".join(f"A-{n},ingest read,person,400\n" for n in range(3000)))
    run = energy("keys", "create-many", str(file), str(output), database_url=database)
    assert run.returncode == 0, run.stdout + run.stderr
    assert output.stat().st_mode & 0o777 == 0o600
    with output.open(newline="") as tokens:
        rows = list(csv.DictReader(tokens))
    assert [row["account_no"] for row in rows] == [f"A-{n}" for n in range(3000)]
    with ServiceThread(database, auth="keys") as service, client_of(service) as client:
        answer = client.get("/v1/accounts/A-7/readings", headers=bearer(rows[7]["token"]))
        other = client.get("/v1/accounts/A-8/readings", headers=bearer(rows[7]["token"]))
    assert (answer.status_code, other.status_code) == (200, 403)
    shown = energy("keys", "list", "--json", database_url=database).stdout.splitlines()
    assert len(shown) == 3000
    assert json.loads(shown[0])["source"] == "person"


@pytest.mark.parametrize("line", ["A-1,root", "A-1,", "A-1,read,x"], ids=["scope", "none", "a field too many"])
def test_a_file_with_one_wrong_line_makes_no_key(database: str, tmp_path: Path, line: str) -> None:
    file, output = tmp_path / "a.csv", tmp_path / "tokens.csv"
    file.write_text(f"account_no,scopes\nA-0,read\n{line}\n")
    run = energy("keys", "create-many", str(file), str(output), database_url=database)
    assert (run.returncode, "line 2" in run.stderr) == (1, True), run.stderr
    assert not output.exists()
    assert query(database, "SELECT 1 FROM api_keys") == []


def test_the_last_use_of_a_key_is_noted(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lastuse, "EVERY_S", 0.1)
    service = start_service(auth="keys")
    used, unused = make_key(service.dsn, "ingest"), make_key(service.dsn, "ingest")
    before = datetime.now(UTC) - timedelta(seconds=1)
    with client_of(service) as client:
        for _ in range(3):
            assert client.post("/v1/readings", json=reading(), headers=used).status_code == 201
        forged = unused["Authorization"][:-5] + "xxxxx"
        assert client.post("/v1/readings", json=reading(), headers={"Authorization": forged}).status_code == 401

        def last_uses() -> list[datetime]:
            rows = query(service.dsn, "SELECT last_used_at FROM api_keys WHERE last_used_at IS NOT NULL")
            return [row["last_used_at"] for row in rows]

        (at,) = until(last_uses, "the last use")
    assert at > before


def test_a_key_that_would_end_after_all_calendars_is_refused(client: httpx.Client, admin: dict[str, str]) -> None:
    wanted = [{"scopes": ["ingest"], "expires_at": "9999-12-31T23:59:59-12:00"}]
    assert client.post("/v1/keys", json=wanted, headers=admin).status_code == 422


def status_of(dsn: str, token: str) -> int:
    with ServiceThread(dsn, auth="keys") as running, client_of(running, headers=bearer(token)) as client:
        return client.get("/v1/keys").status_code


def test_a_new_bootstrap_secret_on_an_old_database_is_a_working_admin_key(database: str) -> None:
    old, new = (f"bootstrap.{letter * 32}" for letter in "ab")
    for token in (old, new):
        assert energy("migrate", database_url=database, bootstrap_admin_key=token).returncode == 0
        assert status_of(database, token) == 200
    assert status_of(database, old) == 401


def test_a_bootstrap_key_that_was_revoked_comes_back_with_a_new_secret_only(database: str) -> None:
    old, new = (f"bootstrap.{letter * 32}" for letter in "ab")
    energy("migrate", database_url=database, bootstrap_admin_key=old)
    assert energy("keys", "revoke", "bootstrap", database_url=database).returncode == 0
    energy("migrate", database_url=database, bootstrap_admin_key=old)
    assert status_of(database, old) == 401
    energy("migrate", database_url=database, bootstrap_admin_key=new)
    assert status_of(database, new) == 200


def test_the_bootstrap_takes_over_no_key_that_was_made_otherwise(database: str) -> None:
    token = make_key(database, "ingest")["Authorization"].removeprefix("Bearer ")
    key_id = token.partition(".")[0]
    ended = energy("migrate", database_url=database, bootstrap_admin_key=f"{key_id}.{'a' * 32}")
    assert (ended.returncode == 0, "Choose another id" in ended.stderr) == (False, True)
    assert status_of(database, token) == 403
