"""Writes the table of settings into docs/settings.md: `python tests/docs/settings_table.py`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from pydantic.fields import FieldInfo

from energy.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = """# Settings

Every setting of the service is an environment variable. The table is made from `app/src/energy/settings.py`; a test fails when it
is not complete. A value that cannot work is refused at start, in one sentence that names the variable.

| Variable | Default | What it is |
|---|---|---|
"""


def _default(field: FieldInfo) -> str:
    if field.default is None:
        return ""
    value = field.default.value if isinstance(field.default, Enum) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def page() -> str:
    """The whole page."""
    rows = [
        f"| `ENERGY_{name.upper()}` | {_default(field)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
