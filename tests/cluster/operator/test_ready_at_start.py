"""The suite of tests/unit/prescaler/test_ready_at_start.py, on a real API server."""

import pytest

from unit.prescaler.test_ready_at_start import *  # noqa: F403 - the tests themselves

pytestmark = pytest.mark.cluster
