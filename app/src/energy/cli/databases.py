"""Which database a command works on: the one that is named, else the embedded one, started for as long as it is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from energy.settings import Settings
from energy.store.embedded import EmbeddedPostgres


@contextlib.contextmanager
def database_dsn(settings: Settings) -> Iterator[str]:
    """The DSN. An embedded server that was not running before is stopped afterwards. Raises `EmbeddedUnavailable`."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    server = EmbeddedPostgres(settings.data_dir)
    server.start()
    try:
        with server.kept_running():
            yield server.dsn
    finally:
        if server.started:
            server.stop()


def migrates_at_start(settings: Settings) -> bool:
    """Our own database is brought up to date by itself; somebody else's only when asked to."""
    return settings.migrate if settings.migrate is not None else settings.database_url is None
