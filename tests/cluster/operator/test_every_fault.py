"""The suite of tests/unit/prescaler/test_every_fault.py, on a real API server."""

import pytest

from unit.prescaler.test_every_fault import *  # noqa: F403 - the tests themselves

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
