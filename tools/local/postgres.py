"""A PostgreSQL in a directory of its own, gone afterwards: the product's embedded one."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from energy.store.embedded import EmbeddedPostgres


class Postgres:
    """Runs from its making to `close`, in a new directory of its own in `parent`; `options` go to its command line."""

    def __init__(self, *options: str, parent: Path | None = None) -> None:
        # Not pytest's own temporary directory: only its owner may enter that, and as root the server runs as another user.
        self.home = Path(tempfile.mkdtemp(prefix="energy-pg-", dir=parent))
        self.home.chmod(0o755)
        self.postgres = EmbeddedPostgres(self.home / "data", options)
        self.postgres.start()

    @property
    def dsn(self) -> str:
        """How to reach its first database."""
        return self.postgres.dsn

    @property
    def pid(self) -> int:
        """Its first process; all others are children of it."""
        return int((self.postgres.data_dir / "postmaster.pid").read_text().split()[0])

    def close(self) -> None:
        """Ends it without a last checkpoint, which would write for seconds what is removed right after, and removes it."""
        self.postgres.stop(signal.SIGQUIT)
        shutil.rmtree(self.home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
