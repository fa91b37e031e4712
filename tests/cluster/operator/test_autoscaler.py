"""With the real HPA controller: raising the minimum scales at once, whatever `behavior` says, without a metrics server."""

from collections.abc import AsyncIterator

import pytest

from cluster.operator.conftest import install_crd, rig_on
from tools.cluster import Cluster
from tools.local.waiting import until
from unit.prescaler.rig import END, HPA, LEAD, QUIET, Rig

pytestmark = pytest.mark.cluster


@pytest.fixture
async def scaling(control_plane: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    install_crd(control_plane)
    async for made in rig_on(control_plane, monkeypatch):
        yield made


async def test_the_minimum_scales_up_although_behavior_forbids_it(control_plane: Cluster, scaling: Rig) -> None:
    rig, kubectl = scaling, control_plane.kubectl
    kubectl("create", "deployment", "energy", "--image=energy:1", "--replicas=1", "-n", rig.namespace)
    await rig.hpa(low=1)
    behavior = {"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}}
    await rig.edit(HPA, "energy", {"spec": {"behavior": behavior}})
    await rig.window(baseline={"minReplicas": 1})

    def replicas() -> int:
        found: int = kubectl.get("deployment", "energy", namespace=rig.namespace)["spec"]["replicas"]
        return found

    async def looks() -> None:
        """The HPA controller writes its status meanwhile: a precondition may fail, the next look is right."""
        for _ in range(5):
            rig.monotonic_s += 2
            await rig.loop._turn()

    rig.at(QUIET)
    await looks()
    assert replicas() == 1
    rig.at(LEAD)
    await looks()
    assert await rig.minimum() == 8
    until(lambda: replicas() == 8, "the HPA has scaled to the minimum", timeout_s=30)
    rig.at(END)
    await looks()
    assert await rig.minimum() == 1
    assert replicas() == 8, "the way down is the HPA's own: without metrics it stays up"
