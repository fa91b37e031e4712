"""The command line refuses what the API server refuses, and nothing else: random specs, put to both.

Time zones are left out: an API server cannot know them, so an object with an unknown one is accepted and then called invalid.
"""

import json
from typing import Any

import pytest

from prescaler.kube.objects import GROUP, VERSION
from prescaler.window.schema import InvalidSpecError, checked
from unit.prescaler.rig import Rig
from unit.prescaler.test_fuzz import body

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SPECS = 1500


def refused_here(spec: Any) -> str | None:
    try:
        checked(spec, "spec", rules=True)
    except InvalidSpecError as error:
        return str(error)
    return None


async def test_random_specs_are_refused_by_both_or_by_neither(rig: Rig) -> None:
    url = f"/apis/{GROUP}/{VERSION}/namespaces/{rig.namespace}/billingwindows"
    query = {"fieldValidation": "Strict", "dryRun": "All"}
    agreed = {True: 0, False: 0}
    for seed in range(SPECS):
        spec = body(seed, "x")["spec"]
        made = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "BillingWindow", "metadata": {"name": "x"}, "spec": spec}
        status, answer, _ = await rig.kube.transport("POST", url, query, made)
        here = refused_here(spec)
        assert (status >= 400) == (here is not None), f"{seed}: {json.dumps(spec)}: {answer.decode()}: {here}"
        agreed[status < 400] += 1
    assert min(agreed.values()) > SPECS / 10, "there were enough of both"
