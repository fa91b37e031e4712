"""The suite of tests/unit/prescaler/test_product.py, on a real API server."""

import pytest

from unit.prescaler.test_product import *  # noqa: F403 - the tests themselves

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
