"""A program: shows a `Disk` as the one file of a FUSE file system, so that Linux can put a loop device and ext4 on it.

The file system under PostgreSQL is the kernel's own ext4 with its journal and its barriers; nothing of it is imitated. A flush
of the block device arrives here as fsync of the file. Orders come as an extended attribute of the file (`order`): `cut
WRITES SEED SHARE`, and `on`; a cut is reported by a line of JSON on standard output when it happens. The program ends when it is unmounted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import random
import stat
import sys
from collections.abc import Iterator
from dataclasses import asdict

import mfusepy

from fault.disk import FILE_NAME, ORDERS, Disk, PowerIsOff


class OneFile(mfusepy.Operations):  # type: ignore[misc]  # the binding has no types
    """The operations that the kernel asks for: of a folder with one file in it that can't grow."""

    use_ns = True

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def getattr(self, path: str, _file: object = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path == f"/{FILE_NAME}":
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._disk.size}
        raise OSError(errno.ENOENT, path)

    def read(self, _path: str, count: int, offset: int, _file: object) -> bytes:
        with self._power():
            return self._disk.read(offset, count)

    def write(self, _path: str, data: bytes, offset: int, _file: object) -> int:
        with self._power():
            return self._disk.write(offset, data)

    def fsync(self, _path: str, _only_data: int, _file: object) -> int:
        with self._power():
            self._disk.flush()
        return 0

    def setxattr(self, _path: str, name: str, value: bytes, _options: int, _position: int = 0) -> int:
        if name != ORDERS:
            raise OSError(errno.ENOTSUP, name)
        match value.decode().split():
            case ["cut", in_writes, seed, share]:
                chance = random.Random(int(seed))  # noqa: S311 - to be repeated, not to be secret
                self._disk.cut(chance, float(share), in_writes=int(in_writes))
                self._report()
            case ["on"]:
                self._disk.switch_on()
            case _:
                raise OSError(errno.EINVAL, value)
        return 0

    @contextlib.contextmanager
    def _power(self) -> Iterator[None]:
        try:
            yield
        except PowerIsOff:
            self._report()
            raise OSError(errno.EIO, "the power is off") from None

    def _report(self) -> None:
        cut, self._disk.last_cut = self._disk.last_cut, None
        if cut is not None:
            sys.stdout.write(json.dumps(asdict(cut)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    mountpoint, size = sys.argv[1:]
    # direct_io: the kernel keeps no pages of this file, or it would remember what the disk forgets.
    mfusepy.FUSE(OneFile(Disk(int(size))), mountpoint, direct_io=True, foreground=True, nothreads=True)
