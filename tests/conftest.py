"""What all tests share: the fixtures of the service and of the test cluster, and which cases are drawn.

Tests that draw their cases (hypothesis, schemathesis) draw the same ones in every run, so that a gate that was green stays
green. `--hypothesis-seed` makes them draw others, and more of them; `make fuzz` does that for as long as it is told.
"""

from __future__ import annotations

import pytest
from hypothesis import is_hypothesis_test, settings

from support.drawn import FUZZ, GATE

pytest_plugins = ["cluster.fixtures", "support.fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile(GATE, derandomize=True, database=None, deadline=None)
    settings.register_profile(FUZZ, database=None, deadline=None, print_blob=True)
    settings.load_profile(GATE if config.getoption("--hypothesis-seed") is None else FUZZ)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj):
            item.add_marker("fuzz")
