"""Indexes on a table in use: built beside its readers and writers, and built again when a build was cut off.

PostgreSQL builds such an index outside of a transaction, so a build that is killed leaves an index behind that is kept up
to date and never used. A step is therefore repeated from whatever it finds. CockroachDB builds every index this way, as a
job that it ends or undoes by itself.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from energy.store.migrations import LOCK_TIMEOUT_S

WAIT_MAX = "20min"
"""For transactions that began before the build: an export may last 15 minutes. Nobody waits behind a build that waits."""
_LOOK_AGAIN_S = 0.5

_BEING_BUILT = """
SELECT count(*) FROM pg_stat_progress_create_index WHERE relid = CAST(:table AS regclass) AND datname = current_database()
"""
_VALID = "SELECT coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)), false)"


def create_index(name: str, table: str, definition: str) -> None:
    """A whole index of that name, whatever an earlier attempt has left."""
    if op.get_context().dialect.name == "cockroachdb":
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} {definition}")
        return
    with op.get_context().autocommit_block():
        if not op.get_context().as_sql:
            _clear_up(name, table)
        _patiently(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} {definition}")


def drop_index(name: str) -> None:
    """Without holding up anybody who uses the table."""
    if op.get_context().dialect.name == "cockroachdb":
        op.execute(f"DROP INDEX IF EXISTS {name}")
        return
    with op.get_context().autocommit_block():
        _patiently(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _patiently(sql: str) -> None:
    op.execute(f"SET lock_timeout = '{WAIT_MAX}'")
    op.execute(sql)
    op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")


def _clear_up(name: str, table: str) -> None:
    """Waits for a build that goes on (another replica's, or one whose client is gone), then removes half an index.

    It waits by asking, not in a lock: two builds that wait for each other would be a deadlock. Two replicas that
    begin in the same instant may still meet; one then fails and comes back here.
    """
    connection = op.get_bind()
    while connection.scalar(text(_BEING_BUILT), {"table": table}):
        connection.execute(text(f"SELECT pg_sleep({_LOOK_AGAIN_S})"))
    if not connection.scalar(text(_VALID), {"name": name}):
        _patiently(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
