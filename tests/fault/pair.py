"""A PostgreSQL and a replica that streams from it, made with PostgreSQL's own programs."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from energy.store.embedded import EmbeddedPostgres
from support.postgres import OPTIONS, TestServer, query


class Pair:
    """A primary and a replica that streams from it, made with PostgreSQL's own programs."""

    def __init__(self, primary: TestServer) -> None:
        self.primary = primary
        directory = primary.home / "replica"
        directory.mkdir(mode=0o700)
        owner = primary.postgres.programs.user
        if owner is not None:
            shutil.chown(directory, owner)
        subprocess.run(
            [primary.bin / "pg_basebackup", "--host", primary.postgres.data_dir, "--username", "postgres",
             "--pgdata", directory, "--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast"],
            check=True, user=owner, cwd=directory,
        )  # fmt: skip
        (directory / ".s.PGSQL.5432.lock").unlink()  # the primary's socket lies in its data, so its lock was copied too
        self.replica = EmbeddedPostgres(directory, (*OPTIONS, "-c wal_retrieve_retry_interval=100ms"))
        self.replica.start()

    def replica_dsn(self, primary_dsn: str) -> str:
        return self.replica.dsn.replace("/postgres?", f"/{primary_dsn.split('?', maxsplit=1)[0].rsplit('/', 1)[1]}?")

    def on_replica(self, sql: str) -> Any:
        return query(self.replica.dsn, sql)[0][0]
