"""A machine's power: ext4 on a disk that forgets what was not flushed, and what happens to PostgreSQL when it is cut.

The disk is a program (`fuse_disk`), ext4 is the kernel's own, over a loop device. So it is the real file system that decides
which of PostgreSQL's files, sizes and renames are there after a cut; only the disk's cache is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from fault import killing
from fault.disk import FILE_NAME, ORDERS, Cut
from fault.rounds import Machine
from support.postgres import TestServer, execute
from tools.local.waiting import until

DISK_BYTES = 1 << 30
CHECKPOINT_SHARE = 0.5
"""How many cuts meet a checkpoint, which writes pages in place: those are the ones that can be torn."""
CHECKPOINT_AHEAD_S = 0.1
IN_WRITES_MAX = 20
"""Most cuts come during a write: between two of them everything would be flushed nearly always."""
KEPT_SHARES = (0.0, 0.3, 0.7, 0.95)
"""How much of what was not flushed came through by luck."""


def missing() -> str | None:
    """What this machine lacks to cut power, or nothing."""
    needs = {
        "root, to mount": os.geteuid() == 0,
        "FUSE (/dev/fuse)": Path("/dev/fuse").exists(),
        "libfuse (apt-get install libfuse3-3)": bool(
            ctypes.util.find_library("fuse3") or ctypes.util.find_library("fuse")
        ),
        "loop devices (/dev/loop-control)": Path("/dev/loop-control").exists(),
        "mkfs.ext4 (apt-get install e2fsprogs)": shutil.which("mkfs.ext4") is not None,
    }
    lacks = [name for name, there in needs.items() if not there]
    return f"cutting power needs {', '.join(lacks)}" if lacks else None


class ForgetfulDisk:
    """ext4 at `root`, on a disk whose power can be cut."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="energy-test-disk-"))
        self._home.chmod(0o755)  # PostgreSQL runs as a user of its own
        self._device, self.root = self._home / "device", self._home / "root"
        self._device.mkdir()
        self.root.mkdir()
        self._program = subprocess.Popen(
            [sys.executable, "-m", "fault.fuse_disk", self._device, str(DISK_BYTES)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._program.stdout is not None
        self._said = self._program.stdout
        until(lambda: self._file.exists() or self._program.poll() is not None, "the disk")
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,nodiscard", str(self._file))
        self._mount()

    def sync(self) -> None:
        """All that was written so far survives."""
        _run("sync", "-f", str(self.root))

    def cut(self, chance: random.Random, kept_share: float, *, in_writes: int = 0) -> Cut:
        """Now, or during a later write. Whoever uses the disk gets errors from there on, and had better be killed."""
        self._order(f"cut {in_writes} {chance.getrandbits(32)} {kept_share}")
        return Cut(**json.loads(self._said.readline()))

    def power_on(self) -> None:
        """What an operating system does when it starts again: nothing is in memory, and ext4 replays its journal."""
        _run("umount", str(self.root))
        self._order("on")
        self._mount()

    @property
    def _file(self) -> Path:
        return self._device / FILE_NAME

    def _mount(self) -> None:
        _run("mount", "-t", "ext4", "-o", "loop", str(self._file), str(self.root))

    def _order(self, order: str) -> None:
        os.setxattr(self._file, ORDERS, order.encode())

    def close(self) -> None:
        """Unmounts everything; the program ends with its file system."""
        for mountpoint in (self.root, self._device):
            if mountpoint.is_mount():
                _run("umount", "--lazy", str(mountpoint))
        self._program.wait(10)
        self._said.close()
        shutil.rmtree(self._home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class MachineWithDisk(Machine):
    """A machine whose PostgreSQL has its files on that disk."""

    def __init__(self, directory: Path, disk: ForgetfulDisk, *options: str, **settings: object) -> None:
        super().__init__(directory, TestServer(*options, parent=disk.root), **settings)
        self.disk = disk
        self.cuts: list[Cut] = []

    def begin(self) -> None:
        """As if it had run for a while: what it starts with is on the disk."""
        super().begin()
        self.disk.sync()

    def lose_power(self, chance: random.Random, kept_share: float, *, in_writes: int) -> None:
        """First the disk goes: until PostgreSQL is killed, it learns that from nothing but errors."""
        running = killing.processes_of(self.server.postgres)
        self.cuts.append(self.disk.cut(chance, kept_share, in_writes=in_writes))
        killing.kill_with_children(running)
        self.disk.power_on()


async def power_cut(machine: MachineWithDisk, chance: random.Random) -> None:
    """For the database's machine; the service runs on another one and waits."""
    await _cut_in_the_middle(machine, chance)
    await asyncio.to_thread(machine.server.postgres.start)


async def power_cut_for_both(machine: MachineWithDisk, chance: random.Random) -> None:
    """For the one machine that the service and its database run on."""
    await _cut_in_the_middle(machine, chance)
    killing.kill_service(machine.service)
    await asyncio.to_thread(machine.server.postgres.start)
    await asyncio.to_thread(machine.start_service)


async def power_cut_with_nothing_kept(machine: MachineWithDisk, chance: random.Random) -> None:
    """The plainest cut: exactly what was flushed is there."""
    await asyncio.to_thread(machine.lose_power, chance, 0.0, in_writes=0)
    await asyncio.to_thread(machine.server.postgres.start)


async def _cut_in_the_middle(machine: MachineWithDisk, chance: random.Random) -> None:
    async with asyncio.TaskGroup() as together:
        if chance.random() < CHECKPOINT_SHARE:
            together.create_task(asyncio.to_thread(_checkpoint, machine.dsn))
            await asyncio.sleep(chance.uniform(0.0, CHECKPOINT_AHEAD_S))  # the seeded moment, not a wait
        in_writes, kept_share = chance.randint(0, IN_WRITES_MAX), chance.choice(KEPT_SHARES)
        await asyncio.to_thread(machine.lose_power, chance, kept_share, in_writes=in_writes)


def _checkpoint(dsn: str) -> None:
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # it is there to be cut off
        execute(dsn, "CHECKPOINT")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
