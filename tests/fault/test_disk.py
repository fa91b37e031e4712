"""The disk of the power cuts keeps its word, or those tests prove nothing."""

from __future__ import annotations

import random

import pytest

from fault.disk import SECTOR_BYTES, Cut, Disk, PowerIsOff

PAGE = 8192


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - to be repeated, not to be secret


def after_cut(disk: Disk, kept_share: float, seed: int = 1) -> Cut:
    disk.cut(chance(seed), kept_share)
    disk.switch_on()
    assert disk.last_cut is not None
    return disk.last_cut


def test_what_was_flushed_survives_a_cut() -> None:
    disk = Disk(1 << 20)
    disk.write(PAGE, b"a" * PAGE)
    disk.flush()
    disk.write(PAGE, b"b" * PAGE)
    assert disk.read(PAGE, PAGE) == b"b" * PAGE
    assert after_cut(disk, kept_share=0.0) == Cut(flushes=1, sectors_kept=0, sectors_lost=PAGE // SECTOR_BYTES)
    assert disk.read(PAGE, PAGE) == b"a" * PAGE


def test_a_page_can_be_torn_between_sectors_and_never_inside_one() -> None:
    disk = Disk(1 << 20)
    disk.write(0, b"a" * PAGE)
    disk.flush()
    disk.write(0, b"b" * PAGE)
    cut = after_cut(disk, kept_share=0.5)
    page = disk.read(0, PAGE)
    sectors = [page[at : at + SECTOR_BYTES] for at in range(0, PAGE, SECTOR_BYTES)]
    assert {bytes(sector) for sector in sectors} == {b"a" * SECTOR_BYTES, b"b" * SECTOR_BYTES}
    assert sectors.count(b"b" * SECTOR_BYTES) == cut.sectors_kept


def test_unflushed_writes_can_survive_in_another_order() -> None:
    def outcome(seed: int) -> tuple[int, int]:
        disk = Disk(1 << 20)
        disk.write(0, bytes([1]) * SECTOR_BYTES)
        disk.write(PAGE, bytes([2]) * SECTOR_BYTES)
        after_cut(disk, kept_share=0.5, seed=seed)
        return disk.read(0, 1)[0], disk.read(PAGE, 1)[0]

    assert {outcome(seed) for seed in range(50)} == {(0, 0), (1, 0), (0, 2), (1, 2)}


def test_a_sector_written_twice_may_come_back_in_its_earlier_version() -> None:
    def outcome(seed: int) -> int:
        disk = Disk(1 << 20)
        disk.write(0, bytes([1]) * SECTOR_BYTES)
        disk.write(0, bytes([2]) * SECTOR_BYTES)
        after_cut(disk, kept_share=0.5, seed=seed)
        return disk.read(0, 1)[0]

    assert {outcome(seed) for seed in range(50)} == {0, 1, 2}


def test_a_cut_is_the_same_for_the_same_seed() -> None:
    def image(seed: int) -> bytes:
        disk = Disk(1 << 20)
        disk.write(100, chance(7).randbytes(5 * PAGE))  # neither end lies on a sector's edge
        after_cut(disk, kept_share=0.5, seed=seed)
        return disk.read(0, 6 * PAGE)

    assert image(3) == image(3) != image(4)


def test_without_power_nothing_is_read_written_or_flushed() -> None:
    disk = Disk(1 << 20)
    disk.cut(chance(1), 1.0)
    for order in (lambda: disk.read(0, 1), lambda: disk.write(0, b"a"), disk.flush):
        with pytest.raises(PowerIsOff):
            order()


def test_a_cut_can_come_in_the_middle_of_a_burst_of_writes() -> None:
    disk = Disk(1 << 20)
    disk.cut(chance(1), kept_share=1.0, in_writes=2)
    disk.write(0, b"a")
    with pytest.raises(PowerIsOff):
        disk.write(1, b"b")
    disk.switch_on()
    disk.write(2, b"c")
    assert disk.read(0, 3) == b"abc"
