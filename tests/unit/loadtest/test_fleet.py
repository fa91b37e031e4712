"""A generated district: the same for the same seed, and meters that only ever count up."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from loadtest import fleet

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)


def made(folder: Path, seed: int = 1) -> Path:
    fleet.generate(fleet.FleetPlan(seed, meters=300, history_months=3, k6_meters=100, month=OCTOBER), folder)
    return folder


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("fleet"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as lines:
        return list(csv.DictReader(lines))


def test_the_same_seed_makes_the_same_files(district: Path, tmp_path: Path) -> None:
    again, other = made(tmp_path / "again"), made(tmp_path / "other", seed=2)
    for name in ("meters.csv", "readings.csv", "k6.json"):
        assert (again / name).read_bytes() == (district / name).read_bytes()
        assert (other / name).read_bytes() != (district / name).read_bytes()


def test_every_register_counts_up_from_month_to_month(district: Path) -> None:
    digits = {row["device_id"]: int(row["digits"]) for row in rows(district / "meters.csv")}
    last: dict[tuple[str, str], Decimal] = {}
    rolled_over = 0
    for row in rows(district / "readings.csv"):
        key, value = (row["device_id"], row["register"]), Decimal(row["value"])
        assert 0 <= value < 10 ** digits[row["device_id"]]
        rolled_over += value < last.get(key, Decimal(0))
        last[key] = value
    assert len(last) > 300
    assert rolled_over <= 3


def test_readings_are_of_the_window_of_the_months_before_the_played_one(district: Path) -> None:
    dates = {row["read_at"][:10] for row in rows(district / "readings.csv")}
    assert {date[:7] for date in dates} == {"2026-07", "2026-08", "2026-09"}
    assert {int(date[8:]) for date in dates} <= set(range(15, 27))


def test_the_month_goes_on_where_the_history_ends(district: Path) -> None:
    played = json.loads((district / "k6.json").read_text())
    last = {(row["device_id"], row["register"]): float(row["value"]) for row in rows(district / "readings.csv")}
    behind = [
        register["value"] < last[meter["device_id"], register["name"]]
        for meter in played["meters"]
        for register in meter["registers"]
    ]
    assert len(played["meters"]) == 100
    assert sum(behind) <= 1  # a rollover between the two


def test_a_winter_day_weighs_more_than_a_summer_day() -> None:
    grown = fleet.growth(2025, range(24))
    assert grown[31] - grown[0] > 1.1 * (grown[212] - grown[181])
    assert grown[-1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "now", "month"),
    [
        pytest.param(
            "", datetime(2026, 1, 31, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC), id="the last full month"
        ),
        pytest.param("2026-02", datetime(2026, 9, 9, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), id="a named month"),
    ],
)
def test_which_month_is_played(name: str, now: datetime, month: datetime) -> None:
    assert fleet.month_start(name, now) == month
