"""A PostgreSQL outside the cluster: what a company's own database is to the chart."""

import threading
from pathlib import Path

from energy.store.data_dir import make, make_room
from energy.store.embedded import EmbeddedPostgres
from tools.cluster.network import HOST

PORT = 5432  # the address is the cluster's own, and this port is the one that the chart's NetworkPolicies name
_PODS_AND_HOST = "host all all 10.0.0.0/8 trust\n"


class Database:
    """The server that development uses, listening on the cluster's host address instead of a socket alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = EmbeddedPostgres(folder, (f"-c listen_addresses={HOST}", f"-c port={PORT}"))
        make_room(folder)
        make(folder, self._server.programs, threading.Event())

    @property
    def url(self) -> str:
        """How pods and the host reach it."""
        return f"postgresql://postgres@{HOST}:{PORT}/postgres"

    def start(self) -> None:
        with (self._folder / "pg_hba.conf").open("a") as rules:
            rules.write(_PODS_AND_HOST)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()
