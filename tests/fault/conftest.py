"""Fixtures of the fault tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from fault.rounds import Machine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A PostgreSQL that may be killed; `begin()` starts a service on a fresh database of it."""
    with contextlib.closing(Machine(tmp_path_factory.mktemp("histories"))) as machine:
        yield machine
