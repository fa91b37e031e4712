"""Every setting is documented."""

from __future__ import annotations

import pytest

from docs.settings_table import PAGE, page
from energy.settings import Settings


def test_the_table_of_settings_is_the_one_that_the_code_has() -> None:
    assert PAGE.read_text() == page(), "run: .venv/bin/python tests/docs/settings_table.py"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_says_what_it_is(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")
