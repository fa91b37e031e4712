"""One table of settings: the scripts, the lab and the documentation agree on it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from loadtest import settings

ROOT = Path(__file__).parents[3]
ROWS = json.loads((settings.SCRIPTS / "settings.json").read_text())


def test_the_documentation_has_every_setting_with_its_default() -> None:
    page = (ROOT / "docs/load.md").read_text()
    rows = [
        f"| `{row['name']}` | {'`' + row['default'] + '`' if row['default'] else '(empty)'} | {row['for']} | {row['description']} |"
        for row in ROWS
    ]
    assert [line for line in page.splitlines() if line.startswith("| `LOAD_")] == rows


def test_everything_that_is_read_is_in_the_table_and_the_other_way_round() -> None:
    sources = [*settings.SCRIPTS.glob("*.js"), *(ROOT / "loadtest").glob("*.py")]
    read = {name for path in sources for name in re.findall(r"(?:setting|number)\(['\"](LOAD_\w+)", path.read_text())}
    assert read | {"LOAD_CA_FILE"} == {row["name"] for row in ROWS}


def test_a_misspelt_setting_is_found() -> None:
    assert settings.unknown({"LOAD_RATES": "5", "LOAD_RATE": "5"}) == ["LOAD_RATES"]


def test_credentials_never_reach_a_report() -> None:
    assert settings.changed({"LOAD_API_KEY": "a.b", "LOAD_DATABASE_URL": "postgresql://u:p@h/d", "LOAD_RATE": "5"}) == {
        "LOAD_RATE": "5"
    }
