"""The operator in a test: its real loop against a real API server, with a clock that the test sets.

The cluster has no controllers of its own, so that nobody else touches an object between two looks at it.
"""

import os
from collections.abc import AsyncIterator, Iterator
from importlib import resources
from typing import Any

import pytest
import yaml

from cluster.fixtures import demand
from prescaler.kube.client import credentials
from tools.cluster import Cluster, RefusedError
from tools.local.waiting import until
from unit.prescaler.conftest import prometheus
from unit.prescaler.rig import FaultyKube, Rig

__all__ = ["prometheus"]


def crd() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(resources.files("prescaler").joinpath("crd.yaml").read_text())
    return loaded


def foreign(group: str, plural: str, kind: str, **subresources: Any) -> dict[str, Any]:
    """A kind of somebody else's, with any content: the operator reads a few fields of it and writes one."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": [version | {"subresources": subresources}],
        },
    }


SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def install_crd(cluster: Cluster) -> None:
    cluster.kubectl.apply(
        crd(),
        foreign("keda.sh", "scaledobjects", "ScaledObject"),
        foreign("argoproj.io", "rollouts", "Rollout", scale=SCALE, status={}),
    )

    def served() -> bool:
        try:
            return bool(cluster.kubectl("get", "bw,scaledobjects,rollouts", "-A", "-o", "name") or True)
        except RefusedError:
            return False

    until(served, "the kind BillingWindow is served")


@pytest.fixture(scope="session")
def api() -> Iterator[Cluster]:
    """An API server and nothing behind it."""
    demand(("etcd", "kube-apiserver", "kubectl"))
    with Cluster(controllers=False) as cluster:
        install_crd(cluster)
        yield cluster


@pytest.fixture
async def rig(api: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async for made in rig_on(api, monkeypatch):
        yield made


async def rig_on(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    kube = FaultyKube(credentials)
    name = f"op-{os.urandom(4).hex()}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await kube.transport("POST", "/api/v1/namespaces", None, namespace)
    try:
        yield Rig(name, kube)
        await kube.transport("DELETE", f"/api/v1/namespaces/{name}/pods", None, None)  # one that waits takes room
    finally:
        await kube.close()
