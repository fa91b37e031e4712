"""`energy import | export | keys | migrate`: files in and out, and failures told in one sentence."""

from __future__ import annotations

import csv
import socket
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.postgres import TestServer, count, query
from support.service import Run, ServiceThread, client_of, energy, program


def write(path: Path, header: str, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding=encoding)
    return path


def refused_lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_refused_meters_are_written_with_a_reason_repaired_and_imported(database: str, tmp_path: Path) -> None:
    good = [f"A-{n},Europe/Samara,{uuid4()},5,1,2020-01-01" for n in range(3)]
    bad = {
        "time zone": f"A-7,Europe/Atlantis,{uuid4()},5,1,",
        "UUID": "A-7,Europe/Samara,17,5,1,",
        "digits": f"A-7,Europe/Samara,{uuid4()},12,1,",
        "multiplier": f"A-7,Europe/Samara,{uuid4()},5,0.0001,",
        "multiplier too": f"A-7,Europe/Samara,{uuid4()},5,999999.9999,",
        "account": f",Europe/Samara,{uuid4()},5,1,",
        "time": f"A-7,Europe/Samara,{uuid4()},5,1,2020-01-01 25:00:00",
        "day": f"A-7,Europe/Samara,{uuid4()},5,1,2020-02-30",
        "week": f"A-7,Europe/Samara,{uuid4()},5,1,last week",
        "fields": "A-7,Europe/Samara",
    }
    weeks = f"A-8,Europe/Samara,{uuid4()},5,1,2020-W07-1"  # ISO 8601 too, which the database does not read
    header = "account_no,time_zone,device_id,digits,multiplier,installed_at"
    file = write(tmp_path / "meters.csv", header, *good, *bad.values(), weeks)
    run = energy("import", "meters", str(file), database_url=database)
    assert run.returncode == 1, run.stderr
    assert "4 meters stored" in run.stdout
    assert f"{len(bad)} lines refused" in run.stdout
    target = tmp_path / "meters.csv.refused.csv"
    refused = refused_lines(target)
    assert [line["account_no"] for line in refused] == [line.split(",")[0] for line in bad.values()]
    assert all(line["reason"] for line in refused[:-1])
    repaired = write(target, header + ",reason", *[f"A-7,Europe/Samara,{uuid4()},5,1,2020-01-01,was bad" for _ in bad])
    again = energy("import", "meters", str(repaired), database_url=database)
    assert again.returncode == 0, again.stdout + again.stderr
    assert count(database, "meters") == 4 + len(bad)


def test_readings_are_imported_once_and_exported(database: str, tmp_path: Path) -> None:
    device = uuid4()
    lines = [f"{device},{n},T1,2026-10-20T1{n % 10}:00:00+04:00,," for n in range(10)]
    lines += [f"{device},5,T1,2026-10-21T10:00:00+04:00,person,"]
    file = write(
        tmp_path / "readings.csv", "device_id,value,register,read_at,source,confirm", *lines, f"{device},eleven,T1,,,"
    )
    first, second = (energy("import", "readings", str(file), database_url=database) for _ in range(2))
    assert "10 readings stored" in first.stdout, first.stdout + first.stderr
    assert "2 lines refused" in first.stdout
    reasons = [line["reason"] for line in refused_lines(tmp_path / "readings.csv.refused.csv")]
    assert any("10:00" in reason or "previous" in reason.lower() or "confirm=true" in reason for reason in reasons), (
        reasons
    )
    assert second.returncode == 1
    assert count(database) == 10
    repaired = write(tmp_path / "repaired.csv", "device_id,value,register,read_at,source,confirm", lines[-1] + "true")
    assert energy("import", "readings", str(repaired), database_url=database).returncode == 0
    target = tmp_path / "october.csv"
    run = energy("export", "2026-10", str(target), database_url=database)
    assert (run.returncode, f"11 readings of 2026-10 are in {target}" in run.stdout) == (0, True), run.stdout
    with target.open(newline="") as exported:
        assert len(list(csv.DictReader(exported))) == 11


def test_keys_are_made_listed_used_and_revoked(database: str) -> None:
    made = energy("keys", "create", "--scope", "ingest", "--days", "30", "--note", "head end", database_url=database)
    token = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    assert token.split(".", 1)[1] not in str(query(database, "SELECT * FROM api_keys")[0])
    with ServiceThread(database, auth="keys", key_cache_ttl_s=0) as service, client_of(service) as client:
        headers, body = {"Authorization": f"Bearer {token}"}, {"device_id": str(uuid4()), "value": 1}
        assert client.post("/v1/values", json=body, headers=headers).status_code == 201
        listed = energy("keys", "list", database_url=database)
        key_id = token.split(".")[0]
        assert key_id in listed.stdout
        assert token.split(".", 1)[1] not in listed.stdout
        assert energy("keys", "revoke", key_id, database_url=database).returncode == 0
        assert client.post("/v1/values", json=body, headers=headers).status_code == 401
    assert energy("keys", "revoke", key_id, database_url=database).returncode == 2


def told(run: Run) -> str:
    """What a person reads of a failure: never a stack trace."""
    assert run.returncode in (1, 2), (run.returncode, run.stdout, run.stderr)
    assert "Traceback" not in run.stderr
    assert run.stderr.strip()
    return run.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        pytest.param(["serve"], {"auth": "off", "host": "0.0.0.0"}, "ENERGY_INSECURE", id="no keys on an open address"),
        pytest.param(["serve"], {"port": "eighty"}, "ENERGY_PORT", id="a port that is no number"),
        pytest.param(["serve", "--workers", "0"], {}, "ENERGY_WORKERS", id="no workers"),
        pytest.param(["serve"], {"time_zone": "Mars/Olympus"}, "Mars/Olympus", id="an unknown zone"),
        pytest.param(["migrate"], {"database_url": "mysql://x"}, "postgresql", id="another kind of database"),
        pytest.param(
            ["migrate"],
            {"database_url": "postgresql://x@/x?host=/nowhere"},
            "no connection to the database",
            id="no database",
        ),
        pytest.param(["export", "Juni", "x"], {}, "2026-11", id="a month that is none"),
        pytest.param(["keys", "create", "--scope", "root"], {}, "ingest", id="an unknown scope"),
        pytest.param(["import", "readings", "/nowhere.csv"], {}, "nowhere.csv", id="no file"),
        pytest.param(["serve"], {"data_dir": "/dev/null/pg"}, "/dev/null", id="a directory that cannot be"),
        pytest.param(["frobnicate"], {}, "frobnicate", id="an unknown command"),
    ],
)
def test_a_failure_is_one_sentence(arguments: list[str], settings: dict[str, Any], words: str) -> None:
    assert words in told(energy(*arguments, **settings))


def test_the_program_itself_ends_with_that_code() -> None:
    assert "ENERGY_WORKERS" in told(program("serve", "--workers", "0"))


def test_a_bootstrap_key_that_is_none_is_refused(database: str) -> None:
    assert "<id>.<secret>" in told(energy("migrate", database_url=database, bootstrap_admin_key="short"))


def test_a_port_that_is_taken_is_told(database: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = energy("serve", database_url=database, auth="off", port=taken.getsockname()[1])
    assert "ENERGY_PORT" in told(run)


@pytest.mark.parametrize("broken", ["header", "empty", "encoding", "huge field", "zip"])
def test_a_file_that_cannot_be_imported_is_told(database: str, tmp_path: Path, broken: str) -> None:
    file = tmp_path / "file.csv"
    device = uuid4()
    content: dict[str, bytes] = {
        "header": b"device,kwh\n1,2\n",
        "empty": b"",
        "encoding": f"device_id,value,source\n{device},5,счётчик\n".encode("cp1251"),
        "huge field": b'device_id,value\n"' + b"9" * 200_000 + b'",1\n',
        "zip": b"PK\x03\x04\x14\x00\x08\x08\xff\xfe",
    }
    file.write_bytes(content[broken])
    told(energy("import", "readings", str(file), database_url=database))
    assert count(database) == 0


def test_a_server_without_the_schema_is_told(postgres: TestServer, tmp_path: Path) -> None:
    file = write(tmp_path / "readings.csv", "device_id,value", f"{uuid4()},5")
    told(energy("keys", "list", database_url=postgres.empty()))
    told(energy("export", "2026-10", str(file), database_url=postgres.empty()))
    assert file.read_text().startswith("device_id")
