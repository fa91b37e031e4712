"""The test cluster as pytest fixtures, one per level; each starts once a session and is stopped at its end.

`control_plane` speaks the API, `one_node` runs pods, `three_nodes` can lose a node. Tests share a cluster, so each
works in a `namespace` of its own (`control_plane_namespace`, …) and leaves the cluster as it found it.

Cluster tests run when they are asked for: with `-m cluster`, or with ENERGY_REQUIRE_CLUSTER=1, which turns every
reason to skip one into a failure.
"""

import os
import re
import shutil
from collections.abc import Iterator

import pytest

from cluster.harness import Cluster, Manifest
from cluster.harness.binaries import missing

REQUIRED = os.environ.get("ENERGY_REQUIRE_CLUSTER") == "1"
WAIT_FOR_OTHERS_S = 600.0  # a node level is one at a time on a machine
FOR_CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
FOR_NODES = (*FOR_CONTROL_PLANE, "kube-scheduler", "kubelet", "kube-proxy", "coredns", "metrics-server")
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked_for = REQUIRED or re.search(r"(?<!not )\bcluster\b", config.option.markexpr or "")
    if asked_for:
        return
    skip = pytest.mark.skip(reason="needs a Kubernetes: `make test-cluster`, or `pytest -m cluster` on some of them")
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """etcd, API server and controllers: any user, ten seconds. Pods are accepted and never run."""
    _demand(FOR_CONTROL_PLANE)
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def control_plane_namespace(control_plane: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _namespace(control_plane, request)


def _namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own that enforces Pod Security `restricted`, with its ServiceAccount there already."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{request.node.name}-{os.urandom(3).hex()}".lower()).strip("-")[-50:].strip("-")
    namespace: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
    cluster.kubectl.apply(namespace)
    cluster.kubectl.wait_for("serviceaccount", "default", bool, "exists", namespace=name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def _demand(programs: tuple[str, ...], *, root: bool = False) -> None:
    """Skips with the way out, or fails when the cluster is required."""
    reasons = []
    if absent := missing(programs):
        reasons.append(f"not built yet: {', '.join(absent)} (`make cluster-tools` builds them once, in minutes)")
    if root and os.geteuid() != 0:
        reasons.append("nodes need root (network namespaces, containerd)")
    if root and not shutil.which("apt-get") and not shutil.which("containerd"):
        reasons.append("containerd isn't installed, and without apt-get the harness can't install it")
    if not reasons:
        return
    if REQUIRED:
        pytest.fail("; ".join(reasons), pytrace=False)
    pytest.skip("; ".join(reasons))
