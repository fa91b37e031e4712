"""Everything that is sent to CockroachDB is in CockroachDB's own grammar, as its own parser reads it.

What PostgreSQL takes proves nothing there: a statement that CockroachDB can't parse would be found by its first user.
"""

import importlib
import io
import json
import pkgutil
import subprocess
from collections.abc import Callable
from types import ModuleType

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations

from cluster.fixtures import demand
from energy.store.migrations import versions
from energy.store.postgres import statements
from tools.cluster.binaries import program

pytestmark = pytest.mark.cluster

MIGRATIONS = sorted(module.name for module in pkgutil.iter_modules(versions.__path__))
STATEMENTS = {name: text for name, text in statements.all_statements().items() if name not in statements.POSTGRES_ONLY}


def objections(*texts: str) -> list[str]:
    """What CockroachDB's parser has against each text; an empty string is consent."""
    demand(("cockroach-grammar",))
    answer = subprocess.run(
        [program("cockroach-grammar")], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    said: list[str] = json.loads(answer.stdout)
    return said


def sql_of(step: Callable[[], None]) -> str:
    """What a migration would send, without a database."""
    sent = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="cockroachdb", opts={"as_sql": True, "output_buffer": sent, "literal_binds": True}
    )
    with Operations.context(context):
        step()
    return sent.getvalue()


def migration(name: str) -> ModuleType:
    return importlib.import_module(f"{versions.__name__}.{name}")


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_cockroachdb_can_parse_the_statement(name: str) -> None:
    assert objections(STATEMENTS[name]) == [""]


@pytest.mark.parametrize("name", MIGRATIONS)
@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_cockroachdb_can_parse_the_migration(name: str, direction: str) -> None:
    sql = sql_of(getattr(migration(name), direction))
    assert sql.strip(), "a migration that sends nothing would prove nothing"
    assert objections(sql) == [""]


def test_the_parser_objects_to_what_only_postgresql_has() -> None:
    refused = objections("LISTEN readings", "CREATE DOMAIN kwh AS numeric(12,3)", "SELECT FROM WHERE")
    assert all(refused)


def test_there_is_something_to_parse() -> None:
    assert len(STATEMENTS) > 10
    assert MIGRATIONS
