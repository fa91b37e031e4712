"""What only a real API server can show: its refusals in people's words, its columns, its restart."""

from typing import Any

import pytest

from prescaler.kube.client import KubeError
from tools.cluster import Cluster
from unit.prescaler.rig import LEAD, SPEC, Rig

pytestmark = pytest.mark.cluster

WINDOW = SPEC["windows"][0]
DAYS = {"name": "monthly", "fromDay": 15, "toDay": 26}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"windows": [{**WINDOW, "toDay": 32}]}, "should be less than or equal to 31", id="day 32"),
        pytest.param({"windows": [{**WINDOW, "minReplicas": 1}]}, "can't lower it", id="below the baseline"),
        pytest.param(
            {"windows": [{**DAYS, "demand": {"requestsPerSecond": 9, "requestsPerSecondPerPod": 9}}]},
            "can't lower it",
            id="a demand below the baseline",
        ),
        pytest.param({"windows": [{**WINDOW, "minReplicas": None}]}, "in exactly one way", id="no demand"),
        pytest.param(
            {"windows": [{**WINDOW, "demand": {"requestsPerSecond": 9, "requestsPerSecondPerPod": 3}}]},
            "in exactly one way",
            id="two kinds of demand",
        ),
        pytest.param(
            {"windows": [{**WINDOW, "toDay": 15, "endTime": "00:00"}]}, "later than its startTime", id="empty"
        ),
        pytest.param({"maxReplicasPolicy": "Raise"}, "Unsupported value", id="the maximum is not raised"),
        pytest.param({"leadTime": "9999999d"}, "should match", id="a lead time without end"),
        pytest.param({"exceptions": [{"date": "2027-02-30", "action": "Skip"}]}, "type date", id="no day"),
        pytest.param({"exceptionsFrom": {"configMap": "../secrets/s"}}, "should match", id="a path for a name"),
        pytest.param({"baseline": {"minReplicas": 0}}, "scales from zero", id="an HPA from zero"),
        pytest.param({"windows": [{**WINDOW, "name": "a\nb"}]}, "should match", id="two lines for a name"),
        pytest.param(
            {"windows": [{**WINDOW, "peaks": [{"from": "18:00", "to": "22:00", "minReplicas": 8}]}]},
            "would change nothing",
            id="a peak that is none",
        ),
        pytest.param({"leadTime": "soon"}, "should match", id="no duration"),
        pytest.param({"exceptions": [{"date": "2027-01-26", "action": "Extend"}]}, "until goes with", id="until when"),
        pytest.param(
            {"exceptions": [{"date": "2027-01-26", "action": "Extend", "until": "2027-01-20"}]},
            "until is before date",
            id="until before",
        ),
        pytest.param({"timeZones": []}, "at least 1", id="no zone"),
    ],
)
async def test_the_api_server_refuses_nonsense_in_words_people_understand(
    rig: Rig, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        await rig.window(**changes)


async def test_explain_and_printer_columns_are_useful(api: Cluster, rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(LEAD)
    listed = api.kubectl("get", "bw", "-n", rig.namespace).splitlines()
    assert listed[0].split() == ["NAME", "HPA", "PHASE", "MIN", "READY", "STATE", "NEXT", "AGE"]
    assert listed[1].split()[:4] == ["volga", "energy", "PreScaled", "8"]
    assert "clock" not in listed[1]
    assert "the whole target is asked for" in api.kubectl("explain", "bw.spec.leadTime")


async def test_an_api_server_that_restarts_is_waited_for(api: Cluster, rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick()
    api.stop_apiserver()
    try:
        rig.at(LEAD)
        with pytest.raises(KubeError, match="no answer"):
            await rig.loop.tick()
        assert await rig.loop._turn() <= 1.0
    finally:
        api.start_apiserver()
    await rig.tick()
    assert await rig.minimum() == 8
