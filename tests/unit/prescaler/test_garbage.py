"""What no real API server would hold: the operator survives it all the same, and asks for nothing that it shouldn't."""

from typing import Any

import pytest

from prescaler.kube import client as k
from unit.prescaler.memory import MemoryApi
from unit.prescaler.rig import BW, END, HPA, INSIDE, Rig


@pytest.mark.parametrize("name", ["../secrets/s", "..", "../../other/configmaps/x", "a/b", "a?b", "a%2Fb", "A"])
async def test_a_name_never_leaves_its_place_in_a_path(memory: MemoryApi, rig: Rig, name: str) -> None:
    """The API server refuses such a name; an operator that meets one all the same asks for nothing."""
    memory.validates = False
    await rig.hpa("healthy")
    await rig.window("healthy", targetRef={"name": "healthy"})
    await rig.hpa()
    await rig.window(exceptionsFrom={"configMap": name})
    await rig.tick(INSIDE)
    assert await rig.minimum("healthy") == 8
    assert (await rig.condition("Ready"))[:2] == ("False", "InvalidSpec")
    assert not [r for r in memory.requests if "secrets" in r or "other" in r]
    with_slash = k.CONFIG_MAPS.path("n", "a/../b") if "/" in name else ""
    assert ".." not in with_slash.split("/")
    with pytest.raises(k.KubeError):
        k.CONFIG_MAPS.path("n", "..")


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"replay": {"window": "monthly"}}, id="an older form"),
        pytest.param({"conditions": [{"type": "Ready"}]}, id="half a condition"),
        pytest.param({"history": ["x"]}, id="no history"),
        pytest.param({"observedGeneration": "one"}, id="a word for a number"),
        pytest.param({"overwrittenAt": "yesterday"}, id="a word for a time"),
    ],
)
async def test_a_status_that_somebody_has_broken_is_written_anew(memory: MemoryApi, rig: Rig, status: Any) -> None:
    memory.validates = False
    await rig.hpa()
    await rig.window(**filled())
    await rig.edit(BW, "volga/status", {"status": status})
    await rig.tick(INSIDE)
    assert await rig.minimum() == 8
    assert (await rig.condition("Ready"))[:2] == ("True", "Applied")


def filled() -> dict[str, Any]:
    """A spec with the defaults that a real API server fills in."""
    return {"targetRef": {"kind": "HorizontalPodAutoscaler", "name": "energy"}}


async def test_an_answer_that_is_no_object_is_left_out(memory: MemoryApi, rig: Rig) -> None:
    await rig.hpa("healthy")
    await rig.window("healthy", targetRef={"name": "healthy"})
    memory.objects["apis/autoscaling/v2", "horizontalpodautoscalers", rig.namespace, "odd"] = {"metadata": {"name": 7}}
    await rig.tick(INSIDE)
    assert await rig.minimum("healthy") == 8


async def test_a_target_is_written_in_one_field_only(memory: MemoryApi, rig: Rig) -> None:
    bodies: list[Any] = []
    memory.admission = lambda verb, path, body: bodies.append(body) if verb == "PATCH" and "autoscal" in path else None
    await rig.hpa(high=6)
    await rig.window()
    await rig.tick(INSIDE)
    await rig.edit(HPA, "energy", {"spec": {"maxReplicas": 30}})
    await rig.tick()
    assert await rig.minimum() == 8
    await rig.tick(END)
    spec = (await rig.get(HPA, "energy"))["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 30), "a person's maximum is a person's"
    ours = [body for body in bodies if "resourceVersion" in body.get("metadata", {})]
    assert [body["spec"] for body in ours] == [{"minReplicas": 6}, {"minReplicas": 8}, {"minReplicas": 2}]
