"""A thousand objects with Deployments, HPAs and ten thousand pods, all in their lead time: what a pass asks for, and how long.

The pass must stay below a second on a quiet machine (tests/cluster/operator/test_many.py measures it on a real API server,
with the memory); here the limit is three times that, of processor time, because gates share their machine.
"""

import time
from typing import Any

import pytest

from unit.prescaler.memory import MemoryApi, Request
from unit.prescaler.rig import BW, LEAD, Rig

MANY, PODS = 1000, 10


def body(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **more}


async def filled(memory: MemoryApi, rig: Rig) -> None:
    memory.validates = False  # the thousandth check of the same spec shows nothing

    def put(path: str, made: dict[str, Any]) -> None:
        memory._create(Request.of(path), made, "helm")

    space = f"namespaces/{rig.namespace}"
    asked = {"containers": [{"name": "app", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}
    for number in range(MANY):
        name = f"w{number:04}"
        labels = {"app": name}
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        spec = {"minReplicas": 2, "maxReplicas": 20, "scaleTargetRef": target}
        put(f"/apis/autoscaling/v2/{space}/horizontalpodautoscalers", body(name, spec=spec))
        template = {"metadata": {"labels": labels}, "spec": asked}
        status = {"replicas": PODS, "readyReplicas": 2}
        deployment = {"replicas": PODS, "selector": {"matchLabels": labels}, "template": template}
        put(f"/apis/apps/v1/{space}/deployments", body(name, spec=deployment, status=status))
        for pod in range(PODS):
            made = body(f"{name}-{pod}", spec=asked | {"nodeName": f"node-{pod}"}, status={"phase": "Running"})
            made["metadata"]["labels"] = labels
            put(f"/api/v1/{space}/pods", made)
        await rig.window(name, targetRef={"kind": "HorizontalPodAutoscaler", "name": name})
    room = {"cpu": "1000", "memory": "1Ti", "pods": "2000"}
    ready = [{"type": "Ready", "status": "True"}]
    for number in range(PODS):
        put("/api/v1/nodes", body(f"node-{number}", status={"allocatable": room, "conditions": ready}))


@pytest.mark.timeout(120)
async def test_a_pass_over_a_thousand_lists_each_kind_once_and_stays_quick(memory: MemoryApi, rig: Rig) -> None:
    await filled(memory, rig)
    await rig.tick(LEAD)
    memory.requests.clear()
    rig.kube.writes.clear()
    spans = []
    for _ in range(3):
        began = time.process_time()
        await rig.loop.tick()
        spans.append(time.process_time() - began)
    assert rig.kube.writes == []
    lists = [r for r in memory.requests if r.startswith("GET")]
    assert not [r for r in lists if r.endswith("/pods")], "pods are read beside the passes"
    assert len(lists) == 3 * 3 * 4, "BillingWindows, HPAs and Deployments, four pages each"
    assert min(spans) < 3.0
    assert (await rig.condition("CapacitySufficient", "w0999"))[:2] == ("True", "Sufficient")
    assert (await rig.get(BW, "w0999"))["status"]["ready"] == "2/8"
