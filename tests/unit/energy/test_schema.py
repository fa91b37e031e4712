"""The version that readiness waits for is the one that migrations lead to."""

import subprocess
import sys

from energy.store import migrations, schema


def test_the_file_names_tell_the_version_that_migrations_lead_to() -> None:
    assert schema.head() == migrations.head()


def test_a_pod_that_only_serves_does_not_load_the_migration_library() -> None:
    code = (
        "import sys, energy.cli.main, energy.service; sys.exit('alembic' in sys.modules or 'sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
