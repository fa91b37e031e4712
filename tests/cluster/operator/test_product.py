"""The suite of tests/unit/prescaler/test_product.py, on a real API server: ten minutes there, so `make test-operator` runs it."""

import pytest

from unit.prescaler.test_product import *  # noqa: F403 - the tests themselves

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]
