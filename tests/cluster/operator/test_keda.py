"""The suite of tests/unit/prescaler/test_keda.py, on a real API server."""

import pytest

from unit.prescaler.test_keda import *  # noqa: F403 - the tests themselves

pytestmark = pytest.mark.cluster
