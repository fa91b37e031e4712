"""The suite of tests/unit/prescaler/test_faults.py, on a real API server."""

import pytest

from unit.prescaler.test_faults import *  # noqa: F403 - the tests themselves

pytestmark = pytest.mark.cluster
