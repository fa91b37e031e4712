"""PgBouncer in transaction mode in front of a test's PostgreSQL: each transaction may meet another server connection."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.postgres import TestServer
from tools.local.waiting import until

_REQUIRED = "ENERGY_REQUIRE_PGBOUNCER"
"""Set by the gate, which installs it: there a test that needs it fails instead of being skipped."""
_PATHS = (os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")


@contextmanager
def pgbouncer(server: TestServer, role: str, *, pool: int = 4) -> Iterator[int]:
    """Runs it and gives its port; `pool` server connections for all clients of a database together."""
    program = shutil.which("pgbouncer", path=os.pathsep.join(_PATHS))
    if program is None:
        reason = "needs pgbouncer (Debian: apt-get install pgbouncer)"
        if os.environ.get(_REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = server.home / f"pgbouncer-{port}"
    folder.mkdir()
    owner = server.postgres.programs.user
    if owner is not None:
        shutil.chown(folder, owner)
    config = Path(folder / "pgbouncer.ini")
    config.write_text(
        f"[databases]\n* = host={server.postgres.data_dir} user={role}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {pool}\nmax_client_conn = 200\nlogfile = {folder}/log\n"
    )
    process = subprocess.Popen([program, config], user=owner, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port) or process.poll() is not None, "PgBouncer to listen")
        assert process.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0
