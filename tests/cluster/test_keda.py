"""With KEDA itself beside the operator: what belongs to it is left alone, and its ScaledObject can be the target.

KEDA takes minutes to build, so these wait for `make test-keda`.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from cluster.fixtures import demand
from cluster.operator.conftest import install_crd, rig_on
from tools.cluster import Cluster, Manifest
from tools.keda.contestants import in_namespace, scaled_object
from tools.keda.install import Keda
from unit.prescaler.rig import END, INSIDE, LEAD, SCALED_OBJECT, Rig

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
OF_KEDA = "keda-hpa-energy"  # the HPA that KEDA makes for a ScaledObject of this name


@pytest.fixture(scope="module")
def keda(control_plane: Cluster) -> Iterator[Cluster]:
    """KEDA's operator; its metrics API isn't needed where a minimum is all that scales."""
    demand(("keda",))
    install_crd(control_plane)
    running = Keda(control_plane)
    running.install(metrics=False)
    running.start(metrics=False)
    yield control_plane
    running.kill()


@pytest.fixture
async def rig(keda: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """A Deployment with a ScaledObject, from which KEDA has made an HPA."""
    async for made in rig_on(keda, monkeypatch):
        keda.kubectl("create", "deployment", "energy", "--image=energy:1", "--replicas=2", "-n", made.namespace)
        keda.kubectl.apply(in_namespace(scaled_object("energy"), made.namespace))
        keda.kubectl.wait_for("hpa", OF_KEDA, bool, "is made by KEDA", namespace=made.namespace)
        yield made


async def test_an_hpa_that_keda_made_is_refused(rig: Rig) -> None:
    await rig.window(targetRef={"name": OF_KEDA})
    await rig.tick(INSIDE)
    status, reason, message = await rig.condition("Ready")
    assert (status, reason) == ("False", "OwnedByKeda")
    assert "ScaledObject" in message
    assert await rig.minimum(OF_KEDA) == 2


async def test_a_window_on_a_scaled_object_scales_its_deployment_up_and_back(rig: Rig, keda: Cluster) -> None:
    await rig.window(targetRef={"kind": "ScaledObject", "name": "energy"})
    for moment, minimum in ((LEAD, 8), (END, 2)):
        await rig.tick(moment)
        spec = (await rig.get(SCALED_OBJECT, "energy"))["spec"]
        assert spec["minReplicaCount"] == minimum
        _wait_for_minimum(keda, rig.namespace, minimum)
    seen = keda.kubectl.get("deployment", "energy", namespace=rig.namespace)
    assert seen["spec"]["replicas"] == 8, "up by the minimum; the way down is the HPA's own, and waits for its metrics"


async def test_keda_does_not_undo_the_raised_minimum(rig: Rig, keda: Cluster) -> None:
    await rig.window(targetRef={"kind": "ScaledObject", "name": "energy"})
    await rig.tick(LEAD)
    _wait_for_minimum(keda, rig.namespace, 8)
    await rig.edit(SCALED_OBJECT, "energy", {"spec": {"maxReplicaCount": 19}})
    seen = keda.kubectl.wait_for("hpa", OF_KEDA, _reconciled, "was made anew by KEDA", namespace=rig.namespace)
    assert seen["spec"]["minReplicas"] == 8
    await rig.tick(INSIDE)
    assert await rig.condition("DriftDetected") == ("", "", "") or (await rig.condition("DriftDetected"))[0] == "False"


def _wait_for_minimum(cluster: Cluster, namespace: str, minimum: int) -> None:
    def followed(hpa: Manifest) -> bool:
        return bool(hpa["spec"]["minReplicas"] == minimum)

    def scaled(workload: Manifest) -> bool:
        return bool(workload["spec"]["replicas"] >= minimum)

    cluster.kubectl.wait_for("hpa", OF_KEDA, followed, f"has the minimum {minimum}", namespace=namespace)
    cluster.kubectl.wait_for("deployment", "energy", scaled, f"has {minimum} replicas", namespace=namespace)


def _reconciled(hpa: Manifest) -> bool:
    """KEDA looks again when the spec has changed; the new maximum in its HPA tells that it did."""
    return bool(hpa["spec"]["maxReplicas"] == 19)
