"""Long requests are worked on in short steps, counted: nobody else's request waits for more than one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from energy.domain.reading import Outcome, Reading
from energy.http import keys
from energy.http.auth import new_key
from energy.http.shares import Turns
from energy.store.ports import ROWS_AT_A_TIME
from energy.store.postgres.database import Session
from energy.store.postgres.reader import EXPORT_PAGE_ROWS
from energy.store.postgres.writer import PostgresWriter
from energy.wire.tables import json_lines
from support.fixtures import StartService
from support.keys import make_key
from support.postgres import TestServer, count
from support.samples import reading
from support.service import ServiceThread, client_of

MANY = 2 * ROWS_AT_A_TIME + 1


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each statement had."""
    rows: list[int] = []
    write = PostgresWriter.write

    async def counted(self: PostgresWriter, session: Session, batch: Sequence[Reading]) -> list[Outcome]:
        rows.append(len(batch))
        return await write(self, session, batch)

    monkeypatch.setattr(PostgresWriter, "write", counted)
    return rows


@pytest.mark.parametrize("atomic", ["false", "true"])
def test_a_long_batch_is_written_in_steps(service: ServiceThread, written: list[int], atomic: str) -> None:
    with client_of(service) as client:
        items = [reading(reading_id=str(uuid4())) for _ in range(MANY)]
        answer = client.post("/v1/readings/batch", params={"atomic": atomic}, json=items)
        assert (answer.status_code, answer.json()["stored"]) == (200, MANY)
        assert written == [ROWS_AT_A_TIME, ROWS_AT_A_TIME, 1]
        again = client.post("/v1/readings/batch", params={"atomic": atomic}, json=items)
        assert (again.status_code, again.json()["replayed"]) == (200, MANY)


def test_an_atomic_batch_in_several_steps_is_stored_whole_or_not_at_all(service: ServiceThread) -> None:
    before = count(service.dsn)
    items = [reading(reading_id=str(uuid4())) for _ in range(MANY)]
    last = max(items, key=lambda item: UUID(item["device_id"]))  # in the last step
    with client_of(service) as client:
        assert client.post("/v1/readings", json={**last, "value": 1}).status_code == 201
        answer = client.post("/v1/readings/batch", params={"atomic": "true"}, json=items)
    assert (answer.status_code, answer.json()["code"]) == (422, "not_all_stored")
    assert [item["index"] for item in answer.json()["items"]] == [items.index(last)]
    assert count(service.dsn) == before + 1


def test_an_export_is_read_and_written_in_steps(service: ServiceThread, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []

    def counted(page: Sequence[Any]) -> str:
        rows.append(len(page))
        return json_lines(page)

    monkeypatch.setattr("energy.http.billing.json_lines", counted)
    with client_of(service) as client:
        stored = client.post("/v1/readings/batch", json=[reading() for _ in range(2 * EXPORT_PAGE_ROWS + 1)]).json()
        assert stored["refused"] == 0
        period = client.get("/v1/window").json()["period"]
        client.get("/v1/export", params={"period": period, "format": "ndjson"}).raise_for_status()
    assert len(rows) > 2
    assert max(rows) == EXPORT_PAGE_ROWS


def test_many_keys_are_made_in_steps(
    start_service: StartService, postgres: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, step = [0], Turns.next

    def counted(*arguments: Any) -> Any:
        steps[-1] += 1
        return new_key(*arguments)

    async def turn(self: Turns) -> None:
        steps.append(0)
        await step(self)

    monkeypatch.setattr(keys, "new_key", counted)
    monkeypatch.setattr(Turns, "next", turn)
    dsn = postgres.migrated()
    with client_of(start_service(dsn, auth="keys")) as client:
        headers = make_key(dsn, "admin")
        asked = [{"scopes": ["ingest"]}] * keys.KEYS_AT_ONCE_MAX
        made = client.post("/v1/keys", json=asked, headers=headers)
        assert (made.status_code, len(made.json()["keys"])) == (201, len(asked))
        assert max(steps) == keys.KEYS_AT_A_TIME
        assert client.post("/v1/keys", json=[*asked, *asked], headers=headers).status_code == 422
