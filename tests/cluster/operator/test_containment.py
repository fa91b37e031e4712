"""The suite of tests/unit/prescaler/test_containment.py, on a real API server."""

import pytest

from unit.prescaler.test_containment import *  # noqa: F403 - the tests themselves

pytestmark = pytest.mark.cluster
