"""Progress and the billing export."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx

from energy.store.postgres.database import Database, PoolLimits
from energy.store.postgres.reader import PostgresReader
from energy.wire.tables import csv_lines
from support.fixtures import StartService
from support.postgres import execute, query
from support.raw import RawConnection, request
from support.samples import add_meter, reading
from support.service import client_of
from tools.local.waiting import until

OCTOBER = "2026-10-20T10:00:00+04:00"


def send(client: httpx.Client, **more: Any) -> None:
    assert client.post("/v1/readings", json=reading(read_at=OCTOBER, **more)).status_code == 201


def test_progress_counts_meters_and_not_readings(start_service: StartService) -> None:
    service = start_service()
    known = [uuid4() for _ in range(4)]
    for device in known:
        add_meter(service.dsn, device, "A-1")
    execute(service.dsn, "UPDATE meters SET removed_at = '2020-01-01' WHERE device_id = $1", known[3])
    with client_of(service) as client:
        for register in ("T1", "T2"):
            send(client, device=known[0], register=register)
        found = client.get("/v1/progress", params={"period": "2026-10"}).json()
        assert datetime.fromisoformat(found.pop("counted_at")).tzinfo is not None
        assert found == {"period": "2026-10", "expected": 3, "received": 1, "flagged": 0, "share": 0.3333}
        assert client.get("/v1/progress", params={"period": "2026-09"}).json()["received"] == 0
        assert client.get("/v1/progress").status_code == 200


def test_progress_counts_no_meter_that_is_not_expected(start_service: StartService) -> None:
    """Unknown devices, meters that are gone and meters that come later hide none that is missing."""
    service = start_service()
    silent, removed, later = uuid4(), uuid4(), uuid4()
    for device in (silent, removed, later):
        add_meter(service.dsn, device, "A-1")
    execute(service.dsn, "UPDATE meters SET removed_at = '2026-10-05' WHERE device_id = $1", removed)
    execute(service.dsn, "UPDATE meters SET installed_at = '2026-11-05' WHERE device_id = $1", later)
    with client_of(service) as client:
        for device in (removed, later, *(uuid4() for _ in range(5))):
            send(client, device=device)
        found = client.get("/v1/progress", params={"period": "2026-10"}).json()
    assert (found["expected"], found["received"], found["flagged"], found["share"]) == (1, 0, 0, 0)


def test_the_export_has_every_reading_of_the_period_in_both_formats(start_service: StartService) -> None:
    service = start_service()
    items = [reading(value=n, read_at=OCTOBER) for n in range(6_000)]
    with client_of(service) as client:
        assert client.post("/v1/readings/batch", json=items).json()["stored"] == 6_000
        client.post("/v1/readings", json=reading(read_at="2026-09-20T10:00:00+04:00"))
        table = client.get("/v1/export", params={"period": "2026-10"})
        lines = client.get("/v1/export", params={"period": "2026-10", "format": "ndjson"})
    assert table.headers["content-type"].startswith("text/csv")
    assert 'filename="readings-2026-10.csv"' in table.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert rows == [json.loads(line) for line in lines.text.splitlines()]
    stored = query(service.dsn, "SELECT device_id FROM readings WHERE period = '2026-10-01' ORDER BY device_id")
    assert [row["device_id"] for row in rows] == [str(row["device_id"]) for row in stored]
    assert len(rows) == 6_000


def test_an_export_has_a_reading_of_nothing_but_zeros(start_service: StartService) -> None:
    nil = UUID(int=0)
    with client_of(start_service()) as client:
        client.post("/v1/readings", json=reading(nil, reading_id=str(nil), read_at=OCTOBER)).raise_for_status()
        answer = client.get("/v1/export", params={"period": "2026-10"})
    assert [row["reading_id"] for row in csv.DictReader(io.StringIO(answer.text))] == [str(nil)]


def test_an_empty_export_is_a_header(start_service: StartService) -> None:
    with client_of(start_service()) as client:
        answer = client.get("/v1/export", params={"period": "2031-01"})
    assert answer.text.startswith("device_id,reading_id,register,value")
    assert len(answer.text.splitlines()) == 1


def test_no_cell_of_the_export_is_a_formula(start_service: StartService) -> None:
    """Nothing that the API takes in can start a formula today; the file must be safe whatever a table holds."""
    service = start_service()
    with client_of(service) as client:
        send(client, device=uuid4())
        execute(service.dsn, "UPDATE readings SET source = '=HYPERLINK(\"http://evil\")'")
        answer = client.get("/v1/export", params={"period": "2026-10"})
    row = next(csv.DictReader(io.StringIO(answer.text)))
    assert row["source"].startswith("'=")
    assert csv_lines([]) == ""


async def test_an_export_is_the_state_of_one_moment(database: str) -> None:
    """Between two pages a reading of the first one and one of the last are corrected."""
    month = date(2026, 10, 1)
    execute(
        database,
        """INSERT INTO readings (device_id, reading_id, register, value, read_at, period, source, status)
           SELECT md5(n::text)::uuid, md5(n::text)::uuid, 'T0', 1, '2026-10-20', '2026-10-01', 'meter', 'accepted'
           FROM generate_series(1, 6000) n""",
    )
    connections = Database(database, PoolLimits(2, 10, 128))
    pages = PostgresReader(connections, None, 0, 10).export(month)
    found = await anext(pages)
    execute(
        database,
        """UPDATE readings SET status = 'superseded' WHERE device_id IN
           ((SELECT min(device_id::text)::uuid FROM readings), (SELECT max(device_id::text)::uuid FROM readings))""",
    )
    execute(
        database,
        """INSERT INTO readings (device_id, reading_id, register, value, read_at, period, source, status, supersedes)
           SELECT device_id, gen_random_uuid(), register, 2, read_at, period, 'correction', 'accepted', reading_id
           FROM readings WHERE status = 'superseded'""",
    )
    found += [stored async for page in pages for stored in page]
    await connections.close()
    assert len(found) == 6000
    assert {stored.status for stored in found} == {"accepted"}


def test_exports_that_are_read_slowly_leave_history_a_connection(start_service: StartService) -> None:
    service = start_service(database_read_connections_max=2)
    execute(
        service.dsn,
        """INSERT INTO readings (device_id, reading_id, register, value, read_at, period, source, status)
           SELECT md5(n::text)::uuid, md5(n::text)::uuid, 'T0', 1, '2026-10-20', '2026-10-01', 'meter', 'accepted'
           FROM generate_series(1, 60000) n""",
    )
    slow = [RawConnection(service) for _ in range(3)]
    for connection in slow:
        connection.send(request("GET", "/v1/export?period=2026-10"))
    statuses = sorted(connection.socket.recv(12)[-3:] for connection in slow)
    with client_of(service) as client:
        assert client.get(f"/v1/devices/{uuid4()}/readings").status_code == 200
        for connection in slow:
            connection.close()
        until(lambda: client.get("/v1/export?period=2031-01").status_code == 200, "room for another export")
    assert statuses == [b"200", b"503", b"503"]
