"""The suite of tests/unit/prescaler/test_warned_in_time.py, on a real API server."""

import pytest

from unit.prescaler.test_warned_in_time import *  # noqa: F403 - the tests themselves

pytestmark = pytest.mark.cluster
