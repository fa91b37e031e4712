"""Makes a district's meters and their cumulative readings, the same ones for the same seed.

Consumption follows the BDEW standard load profile for households (H0, its dynamic form) as `demandlib` computes it, so that
a winter evening weighs what it weighs and day and night registers grow apart as they do. Writes the CSV files that
`energy import` reads and the JSON that the k6 scripts send from. Meters are made in chunks: memory does not grow with them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from demandlib import bdew
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loadtest.runner import console
from loadtest.settings import setting

CHUNK_METERS = 20_000
YEAR_DAYS = 365
QUARTERS_A_DAY = 96
HOUSEHOLD_KWH = 2_400.0
"""Median yearly consumption of a household in a flat with a gas stove."""

# Region code, name, zone, and its share of the district's people in per cent (rounded).
REGIONS = [
    ("02", "Башкортостан", "Asia/Yekaterinburg", 14), ("12", "Марий Эл", "Europe/Moscow", 2), ("13", "Мордовия", "Europe/Moscow", 3),
    ("16", "Татарстан", "Europe/Moscow", 14), ("18", "Удмуртия", "Europe/Samara", 5), ("21", "Чувашия", "Europe/Moscow", 4),
    ("43", "Кировская область", "Europe/Kirov", 4), ("52", "Нижегородская область", "Europe/Moscow", 11),
    ("56", "Оренбургская область", "Asia/Yekaterinburg", 6), ("58", "Пензенская область", "Europe/Moscow", 4),
    ("59", "Пермский край", "Asia/Yekaterinburg", 9), ("63", "Самарская область", "Europe/Samara", 11),
    ("64", "Саратовская область", "Europe/Saratov", 8), ("73", "Ульяновская область", "Europe/Ulyanovsk", 5),
]  # fmt: skip
# Registers by tariff, with the local hours each counts, and how many of a hundred meters have it.
TARIFFS: list[tuple[dict[str, range | tuple[int, ...]], float]] = [
    ({"T0": range(24)}, 0.55),
    ({"T1": range(7, 23), "T2": (23, *range(7))}, 0.38),
    ({"T1": (7, 8, 9, 17, 18, 19, 20), "T2": (23, *range(7)), "T3": (*range(10, 17), 21, 22)}, 0.07),
]
METERS_HEADER = "account_no,region,time_zone,device_id,serial,digits,decimals,multiplier,installed_at"
READINGS_HEADER = "device_id,register,value,read_at,reading_id"


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What to make. `month`: the first instant of the month that will be played; the history ends before it."""

    seed: int
    meters: int
    history_months: int
    k6_meters: int
    month: datetime


def plan_from_settings() -> FleetPlan:
    """The LOAD_* settings as a plan."""
    return FleetPlan(
        int(setting("LOAD_SEED")), int(setting("LOAD_METERS")), int(setting("LOAD_HISTORY_MONTHS")), int(setting("LOAD_K6_METERS")),
        month_start(setting("LOAD_MONTH"), datetime.now(UTC)),
    )  # fmt: skip


def month_start(name: str, now: datetime) -> datetime:
    """The month called `name`, such as 2026-10, or the last full one."""
    if name:
        return datetime.strptime(name, "%Y-%m").replace(tzinfo=UTC)
    return (now.replace(day=1) - timedelta(days=1)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def months_before(month: datetime, count: int) -> list[datetime]:
    """The `count` months before `month`, the oldest first."""
    found = [month]
    for _ in range(count):
        found.append((found[-1] - timedelta(days=1)).replace(day=1))
    return found[:0:-1]


def growth(year: int, hours: range | tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Share of a year's consumption that a register counting `hours` has gained by the start of each day of the year."""
    profile = bdew.ElecSlp(year).get_scaled_power_profiles({"h0_dyn": 1.0})["h0_dyn"]
    share = (profile / profile.sum()).where(profile.index.hour.isin(list(hours)), 0.0).to_numpy()
    daily = share[: YEAR_DAYS * QUARTERS_A_DAY].reshape(YEAR_DAYS, QUARTERS_A_DAY).sum(axis=1)
    return np.concatenate([[0.0], np.cumsum(daily)])


def generate(plan: FleetPlan, folder: Path) -> None:
    """Writes meters.csv, readings.csv and k6.json into `folder`, and says how fast."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    profile = {hours: growth(2025, hours) for registers, _ in TARIFFS for hours in registers.values()}
    for_k6: list[dict[str, Any]] = []
    readings = 0
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    with (
        Progress(*columns, console=console) as bar,
        (folder / "meters.csv").open("w") as meters_out,
        (folder / "readings.csv").open("w") as out,
    ):
        meters_out.write(METERS_HEADER + "\n")
        out.write(READINGS_HEADER + "\n")
        task = bar.add_task("meters", total=plan.meters)
        for first in range(0, plan.meters, CHUNK_METERS):
            chunk = Chunk.make(plan, first, min(CHUNK_METERS, plan.meters - first))
            meters_out.writelines(chunk.meter_lines())
            lines = list(chunk.reading_lines(plan, profile))
            readings += len(lines)
            out.writelines(lines)
            if len(for_k6) < plan.k6_meters:
                for_k6 += chunk.for_k6(plan, profile, plan.k6_meters - len(for_k6))
            bar.advance(task, len(chunk.devices))
    (folder / "k6.json").write_text(
        json.dumps({"month": f"{plan.month:%Y-%m}", "meters": for_k6}, separators=(",", ":"))
    )
    took_s = time.perf_counter() - started
    console.print(
        f"{plan.meters:,} meters and {readings:,} readings in {took_s:.1f} s, in {folder} (the month after them: {plan.month:%Y-%m})"
    )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some meters, a column each."""

    first: int
    devices: list[str]
    regions: np.ndarray[Any, np.dtype[np.int64]]
    tariffs: np.ndarray[Any, np.dtype[np.int64]]
    digits: np.ndarray[Any, np.dtype[np.int64]]
    decimals: np.ndarray[Any, np.dtype[np.int64]]
    multipliers: np.ndarray[Any, np.dtype[np.int64]]
    yearly_kwh: np.ndarray[Any, np.dtype[np.float64]]
    age_days: np.ndarray[Any, np.dtype[np.int64]]
    dice: np.random.Generator

    @classmethod
    def make(cls, plan: FleetPlan, first: int, count: int) -> Chunk:
        """The meters from `first` on; each chunk has a seed of its own, so that it does not depend on the ones before."""
        dice = np.random.default_rng([plan.seed, first])
        weights = np.array([region[3] for region in REGIONS], dtype=float)
        return cls(
            first, identifiers(dice, count), dice.choice(len(REGIONS), count, p=weights / weights.sum()),
            dice.choice(len(TARIFFS), count, p=[share for _, share in TARIFFS]), dice.choice([5, 6, 7], count, p=[0.25, 0.6, 0.15]),
            dice.choice([0, 1, 2, 3], count, p=[0.1, 0.25, 0.55, 0.1]), dice.choice([1, 20, 40], count, p=[0.99, 0.007, 0.003]),
            np.clip(dice.lognormal(np.log(HOUSEHOLD_KWH), 0.6, count), 200, 60_000), dice.integers(60, 12 * YEAR_DAYS, count), dice,
        )  # fmt: skip

    def meter_lines(self) -> Iterator[str]:
        """Lines of meters.csv. Every ninth meter is the second one of the account before it: a garage, a dacha."""
        for n, device in enumerate(self.devices):
            number = self.first + n
            owner = number - 1 if number % 9 == 8 and n else number  # noqa: PLR2004 - see above
            code, region, zone, _ = REGIONS[self.regions[n - (owner != number)]]
            installed = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=int(self.age_days[n]))
            yield (
                f"{code}{owner:010d},{region},{zone},{device},SN{number:09d},{self.digits[n]},{self.decimals[n]},"
                f"{self.multipliers[n]},{installed:%Y-%m-%dT%H:%M:%SZ}\n"
            )

    def reading_lines(self, plan: FleetPlan, profile: dict[Any, Any]) -> Iterator[str]:
        """Lines of readings.csv: one a register and month, on a day of the window, most of them in the evening."""
        count = len(self.devices)
        for month in months_before(plan.month, plan.history_months):
            days, minutes = (
                self.dice.integers(15, 27, count),
                np.clip(self.dice.normal(19 * 60, 150, count), 0, 1439).astype(int),
            )
            for name, n, values in self.values(month, days - 1, profile):
                at = [f"{month:%Y-%m}-{days[i]:02d}T{minutes[i] // 60:02d}:{minutes[i] % 60:02d}:00Z" for i in n]
                for i, value, read_at, reading_id in zip(n, values, at, identifiers(self.dice, len(n)), strict=True):
                    yield f"{self.devices[i]},{name},{value:.{self.decimals[i]}f},{read_at},{reading_id}\n"

    def values(self, month: datetime, days: Any, profile: dict[Any, Any]) -> Iterator[tuple[str, Any, Any]]:
        """(register, which meters, what it shows) `days` after the start of `month`, rolled over at the meter's digits."""
        since = (month - datetime(2026, 1, 1, tzinfo=UTC)).days + days + self.age_days
        start = (-self.age_days) % YEAR_DAYS
        for tariff, (registers, _) in enumerate(TARIFFS):
            n = np.flatnonzero(self.tariffs == tariff)
            for name, hours in registers.items():
                grown = profile[hours]
                end = start[n] + since[n]
                years = end // YEAR_DAYS * grown[-1] + grown[end % YEAR_DAYS] - grown[start[n]]
                shown = years * self.yearly_kwh[n] / self.multipliers[n]
                yield (
                    name,
                    n,
                    np.floor(np.mod(shown, 10.0 ** self.digits[n]) * 10.0 ** self.decimals[n])
                    / 10.0 ** self.decimals[n],
                )

    def for_k6(self, plan: FleetPlan, profile: dict[Any, Any], most: int) -> list[dict[str, Any]]:
        """The first `most` meters as the scripts need them: what each register shows at the month's start, and its growth a day."""
        zero = np.zeros(len(self.devices), dtype=np.int64)
        now, later = self.values(plan.month, zero, profile), self.values(plan.month, zero + 31, profile)
        registers: list[list[dict[str, Any]]] = [[] for _ in self.devices]
        for (name, n, values), (_, _, after) in zip(now, later, strict=True):
            for i, value, end in zip(n, values, after, strict=True):
                per_day = round(max(float(end - value), 0.0) / 31, 4)
                registers[i].append({"name": name, "value": float(value), "per_day": per_day})
        return [
            {
                "device_id": device,
                "digits": int(self.digits[n]),
                "decimals": int(self.decimals[n]),
                "registers": registers[n],
            }
            for n, device in enumerate(self.devices[:most])
        ]


def identifiers(dice: np.random.Generator, count: int) -> list[str]:
    """Random UUIDs (version 4) that the seed decides."""
    raw = dice.bytes(16 * count)
    return [str(UUID(bytes=raw[at : at + 16], version=4)) for at in range(0, len(raw), 16)]
