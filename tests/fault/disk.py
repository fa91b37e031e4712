"""A disk with a volatile write cache, and a cut of its power. Memory only; knows nothing of file systems or FUSE.

What was written is read back at once, but only a flush makes it last. A cut keeps, of each sector written since the last
flush, any of the versions it had: writes may reach the platter in another order, in part, or not at all, as on a real disk
with a cache. A sector of 512 bytes is written whole or not, so a page of PostgreSQL (8 KiB) can be torn.
"""

from __future__ import annotations

import itertools
import mmap
import random
from dataclasses import dataclass

SECTOR_BYTES = 512
FILE_NAME, ORDERS = "disk", "user.order"
"""Under these names the program around a disk (`fuse_disk`) shows it: a file, and an attribute of it that takes orders."""


class PowerIsOff(OSError):
    """Nothing is read or written until the power is back."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What a cut met: flushes so far, and the sectors written since the last one that came through or did not."""

    flushes: int
    sectors_kept: int
    sectors_lost: int


class Disk:
    """`size` bytes of zeros, with the power on."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.on = True
        self._seen = mmap.mmap(-1, size)  # costs memory only where something is written
        self._safe = mmap.mmap(-1, size)
        self._unflushed: list[tuple[int, bytes]] = []
        self._flushes = 0
        self._planned: tuple[int, random.Random, float] | None = None
        self.last_cut: Cut | None = None

    def read(self, offset: int, count: int) -> bytes:
        """The newest content."""
        self._check_power()
        return self._seen[offset : offset + count]

    def write(self, offset: int, data: bytes) -> int:
        """Into the cache; returns how much was taken, like the system call."""
        self._check_power()
        fits = data[: max(0, self.size - offset)]
        self._seen[offset : offset + len(fits)] = fits
        self._unflushed.append((offset, fits))
        self._count_down()
        return len(fits)

    def flush(self) -> None:
        """Makes last what was written before."""
        self._check_power()
        for offset, data in self._unflushed:
            self._safe[offset : offset + len(data)] = data
        self._unflushed.clear()
        self._flushes += 1

    def cut(self, chance: random.Random, kept_share: float, *, in_writes: int = 0) -> None:
        """Switches the power off: now, or during a later write.

        About `kept_share` of what is not flushed by then has reached the platter all the same.
        """
        self._planned = (in_writes, chance, kept_share)
        if not in_writes:
            self._cut(chance, kept_share)

    def _count_down(self) -> None:
        if self._planned is None:
            return
        left, chance, kept_share = self._planned
        self._planned = (left - 1, chance, kept_share)
        if left == 1:
            self._cut(chance, kept_share)
            self._check_power()

    def _cut(self, chance: random.Random, kept_share: float) -> None:
        kept = lost = 0
        for offset, data in self._unflushed:
            for start, end in _sectors(offset, len(data)):
                if chance.random() < kept_share:
                    self._safe[start:end] = data[start - offset : end - offset]
                    kept += 1
                else:
                    lost += 1
        for offset, data in self._unflushed:
            self._seen[offset : offset + len(data)] = self._safe[offset : offset + len(data)]
        self._unflushed.clear()
        self.on, self._planned = False, None
        self.last_cut = Cut(self._flushes, kept, lost)

    def switch_on(self) -> None:
        """Takes orders again."""
        self.on = True

    def _check_power(self) -> None:
        if not self.on:
            raise PowerIsOff


def _sectors(offset: int, count: int) -> list[tuple[int, int]]:
    """The pieces of a write that lie in one sector each."""
    inner = range(offset - offset % SECTOR_BYTES + SECTOR_BYTES, offset + count, SECTOR_BYTES)
    edges = [offset, *inner, offset + count]
    return list(itertools.pairwise(edges))
