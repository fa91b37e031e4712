"""`energy import`: no file loses a reading, a digit or a column without a word, whichever program wrote it."""

from __future__ import annotations

import csv
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from support.postgres import TestServer, count, query
from support.service import energy, program

SAMARA = ZoneInfo("Europe/Samara")
OCTOBER = "2026-10-20T10:00:00+04:00"
NOVEMBER = "2026-11-20T10:00:00+04:00"


def write(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))
    return path


def reasons(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [line["reason"] for line in csv.DictReader(file)]


def values(dsn: str, device: UUID) -> list[Decimal]:
    return [
        row["value"] for row in query(dsn, "SELECT value FROM readings WHERE device_id = $1 ORDER BY read_at", device)
    ]


def test_a_decimal_comma_is_refused_and_named(database: str, tmp_path: Path) -> None:
    device = uuid4()
    file = write(tmp_path / "a.csv", "device_id,read_at,value", f"{device},{NOVEMBER},10432,75")
    run = energy("import", "readings", str(file), database_url=database)
    assert (run.returncode, count(database)) == (1, 0), run.stdout
    assert "decimal comma" in reasons(tmp_path / "a.csv.refused.csv")[0]


def test_a_line_with_too_few_fields_is_refused_whole(database: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{uuid4()},5")
    assert energy("import", "readings", str(file), database_url=database).returncode == 1
    assert count(database) == 0
    assert "2 fields, the header has 3" in reasons(tmp_path / "a.csv.refused.csv")[0]


@pytest.mark.parametrize("place", [0, 1, 3])
def test_the_reason_of_a_refused_file_is_skipped_wherever_it_stands(database: str, tmp_path: Path, place: int) -> None:
    device = uuid4()
    header, line = ["device_id", "read_at", "value"], [str(device), NOVEMBER, "5"]
    header.insert(place, "reason")
    line.insert(place, "77")
    file = write(tmp_path / "a.csv", ",".join(header), ",".join(line))
    run = energy("import", "readings", str(file), database_url=database)
    assert run.returncode == 0, run.stdout + run.stderr
    assert values(database, device) == [Decimal(5)]


def test_a_refused_file_keeps_every_field_and_can_be_imported_when_fixed(database: str, tmp_path: Path) -> None:
    device = uuid4()
    file = write(
        tmp_path / "a.csv", "device_id,read_at,value", f"{device},{NOVEMBER},10432,75", f"{device},{OCTOBER},x"
    )
    energy("import", "readings", str(file), database_url=database)
    target = tmp_path / "a.csv.refused.csv"
    text = target.read_text()
    assert "10432,75" in text
    target.write_text(text.replace("10432,75", "10432.75").replace(",x", ",10400"))
    run = energy("import", "readings", str(target), database_url=database)
    assert run.returncode == 0, run.stdout + run.stderr
    assert values(database, device) == [Decimal(10400), Decimal("10432.75")]


def test_a_file_without_times_and_ids_is_refused_with_what_to_do(database: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "device_id,value", f"{uuid4()},5")
    run = energy("import", "readings", str(file), database_url=database)
    assert (run.returncode, count(database)) == (1, 0)
    assert "--read-at" in run.stderr


def test_the_same_file_next_month_is_next_months_readings(database: str, tmp_path: Path) -> None:
    device = uuid4()
    file = write(tmp_path / "a.csv", "device_id,value", f"{device},5")
    for at in (OCTOBER, NOVEMBER):
        run = energy("import", "readings", str(file), "--read-at", at, database_url=database)
        assert "1 readings stored" in run.stdout, run.stdout + run.stderr
    periods = query(database, "SELECT period FROM readings WHERE device_id = $1 ORDER BY period", device)
    assert [str(row["period"]) for row in periods] == ["2026-10-01", "2026-11-01"]


def test_what_was_stored_before_is_told_apart_from_what_is_stored_now(database: str, tmp_path: Path) -> None:
    device = uuid4()
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{device},5,{OCTOBER}", f"{device},5,{OCTOBER}")
    first = energy("import", "readings", str(file), database_url=database)
    assert "1 readings stored, 1 stored before, 0 lines refused" in first.stdout, first.stdout
    second = energy("import", "readings", str(file), database_url=database)
    assert (second.returncode, count(database)) == (0, 1)
    assert "0 readings stored, 2 stored before, 0 lines refused" in second.stdout, second.stdout


def test_two_values_for_one_register_and_time_are_not_both_stored(database: str, tmp_path: Path) -> None:
    device = uuid4()
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{device},5,{OCTOBER}", f"{device},6,{OCTOBER}")
    run = energy("import", "readings", str(file), database_url=database)
    assert run.returncode == 1
    assert values(database, device) == [Decimal(5)]


def test_the_source_is_never_overwritten(database: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{uuid4()},x,{OCTOBER}")
    before = file.read_bytes()
    (tmp_path / "link.csv").hardlink_to(file)
    for target in (file, tmp_path / "link.csv"):
        run = energy("import", "readings", str(file), "--refused", str(target), database_url=database)
        assert run.returncode == 2, run.stdout + run.stderr
        assert file.read_bytes() == before


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param("absent/refused.csv", id="no folder"),
        pytest.param(".", id="a folder"),
        pytest.param("/proc/refused.csv", id="where not even root can make a file"),
    ],
)
def test_nothing_is_stored_when_refused_lines_could_not_be_kept(database: str, tmp_path: Path, refused: str) -> None:
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{uuid4()},5,{OCTOBER}", f"{uuid4()},x,{OCTOBER}")
    run = energy("import", "readings", str(file), "--refused", str(tmp_path / refused), database_url=database)
    assert run.returncode == 2, run.stdout + run.stderr
    assert "--refused" in run.stderr
    assert count(database) == 0


def test_the_default_place_of_refused_lines_is_tried_before_anything_is_stored(database: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{uuid4()},5,{OCTOBER}", f"{uuid4()},x,{OCTOBER}")
    file.with_name("a.csv.refused.csv").mkdir()
    run = energy("import", "readings", str(file), database_url=database)
    assert (run.returncode, count(database)) == (2, 0), run.stdout + run.stderr
    assert "--refused" in run.stderr


def test_a_disk_that_is_full_for_refused_lines_is_one_sentence(database: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{uuid4()},5,{OCTOBER}", f"{uuid4()},x,{OCTOBER}")
    run = energy("import", "readings", str(file), "--refused", "/dev/full", database_url=database)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "No space left on device" in run.stderr
    assert "nothing is stored twice" in run.stderr


def test_a_file_that_was_there_survives_an_import_without_refusals(database: str, tmp_path: Path) -> None:
    other = write(tmp_path / "other.csv", "mine")
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{uuid4()},5,{OCTOBER}")
    assert energy("import", "readings", str(file), "--refused", str(other), database_url=database).returncode == 0
    assert other.read_text().strip() == "mine"


def meter_of(dsn: str, device: UUID) -> dict[str, object]:
    return dict(query(dsn, "SELECT * FROM meters JOIN accounts USING (account_no) WHERE device_id = $1", device)[0])


def test_meters_keep_what_a_file_has_no_column_for(database: str, tmp_path: Path) -> None:
    device = uuid4()
    full = write(
        tmp_path / "full.csv",
        "account_no,time_zone,device_id,region,serial,digits,decimals,multiplier,installed_at,removed_at",
        f"A-1,Europe/Samara,{device},63,SN77,5,1,40,2020-01-01,2026-12-01",
    )
    part = write(tmp_path / "part.csv", "account_no,time_zone,device_id", f"A-1,Europe/Moscow,{device}")
    assert energy("import", "meters", str(full), database_url=database).returncode == 0
    before = meter_of(database, device)
    assert energy("import", "meters", str(part), database_url=database).returncode == 0
    assert meter_of(database, device) == {**before, "time_zone": "Europe/Moscow"}


def test_a_day_without_a_time_is_the_accounts_own_day(database: str, tmp_path: Path) -> None:
    device = uuid4()
    header = "account_no,time_zone,device_id,installed_at,removed_at"
    file = write(tmp_path / "m.csv", header, f"A-1,Europe/Samara,{device},2026-11-20,2026-11-25")
    assert energy("import", "meters", str(file), database_url=database).returncode == 0
    meter = meter_of(database, device)
    assert meter["installed_at"] == datetime(2026, 11, 20, tzinfo=SAMARA)
    assert meter["removed_at"] == datetime(2026, 11, 26, tzinfo=SAMARA), "the day of the removal belongs to the meter"


def test_a_time_zone_that_only_this_machine_knows_is_refused(database: str, tmp_path: Path) -> None:
    file = write(tmp_path / "m.csv", "account_no,time_zone,device_id", f"A-1,build/etc/localtime,{uuid4()}")
    known_here = write(tmp_path / "n.csv", "account_no,time_zone,device_id", f"A-1,localtime,{uuid4()}")
    for each in (file, known_here):
        assert energy("import", "meters", str(each), database_url=database).returncode == 1
    assert count(database, "meters") == 0


def test_a_russian_spreadsheets_file_is_read_as_it_is_meant(database: str, tmp_path: Path) -> None:
    device = uuid4()
    meters = write(
        tmp_path / "m.csv",
        "account_no;time_zone;device_id;region;multiplier;installed_at",
        f"ЛС-1;Europe/Samara;{device};Самарская область;1,5;01.10.2026",
        encoding="cp1251",
    )
    run = energy("import", "meters", str(meters), "--encoding", "cp1251", database_url=database)
    assert run.returncode == 0, run.stdout + run.stderr
    meter = meter_of(database, device)
    assert (meter["region"], meter["multiplier"]) == ("Самарская область", Decimal("1.5"))
    assert meter["installed_at"] == datetime(2026, 10, 1, tzinfo=SAMARA)
    readings = write(
        tmp_path / "r.csv", "device_id;value;read_at", f"{device};10432,75;20.11.2026 10:00", encoding="utf-8-sig"
    )
    run = energy("import", "readings", str(readings), "--time-zone", "Europe/Samara", database_url=database)
    assert run.returncode == 0, run.stdout + run.stderr
    row = query(database, "SELECT value, read_at FROM readings WHERE device_id = $1", device)[0]
    assert (row["value"], row["read_at"]) == (Decimal("10432.75"), datetime(2026, 11, 20, 10, tzinfo=SAMARA))


def test_a_file_in_another_encoding_is_refused_with_what_to_do(database: str, tmp_path: Path) -> None:
    header = "account_no,time_zone,device_id,region"
    file = write(tmp_path / "a.csv", header, f"Ж,Europe/Samara,{uuid4()},Самара", encoding="cp1251")
    run = energy("import", "meters", str(file), database_url=database)
    assert (run.returncode, "--encoding cp1251" in run.stderr) == (1, True), run.stderr


def test_a_time_without_a_zone_is_refused_with_what_to_do(database: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{uuid4()},5,20.11.2026")
    assert energy("import", "readings", str(file), database_url=database).returncode == 1
    assert "--time-zone" in reasons(tmp_path / "a.csv.refused.csv")[0]


def test_a_file_comes_from_standard_input_as_well(database: str, tmp_path: Path) -> None:
    text = f"device_id,value,read_at\n{uuid4()},5,{OCTOBER}\n{uuid4()},x,{OCTOBER}\n"
    target = tmp_path / "refused.csv"
    run = program("import", "readings", "-", "--refused", str(target), stdin=text, database_url=database)
    assert (run.returncode, count(database)) == (1, 1), run.stdout + run.stderr
    assert len(reasons(target)) == 1
    out = program("export", "2026-10", "-", database_url=database)
    assert (out.returncode, len(out.stdout.splitlines())) == (0, 2), out.stderr


def test_an_import_into_a_fresh_data_directory_makes_the_schema(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{uuid4()},5,{OCTOBER}")
    run = energy("import", "readings", str(file), data_dir=tmp_path / "data")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 readings stored" in run.stdout


def test_an_import_into_a_database_without_the_schema_says_so_at_once(postgres: TestServer, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "device_id,value,read_at", f"{uuid4()},5,{OCTOBER}")
    run = energy("import", "readings", str(file), database_url=postgres.empty())
    assert (run.returncode, "energy migrate" in run.stderr) == (1, True), run.stderr
