"""The test cluster as pytest fixtures, one per level; each starts once a session and is stopped at its end.

`control_plane` speaks the API, `one_node` runs pods, `three_nodes` can lose a node. Tests share a cluster, so each
works in a `namespace` of its own (`control_plane_namespace`, …) and leaves the cluster as it found it.

Cluster tests run when they are asked for: with `-m cluster`, or with ENERGY_REQUIRE_CLUSTER=1, which turns every
reason to skip one into a failure.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.database import Database
from tools.cluster import Cluster, Manifest
from tools.cluster.binaries import missing
from tools.cluster.builder import ARCHIVES, IMAGES

REQUIRED = os.environ.get("ENERGY_REQUIRE_CLUSTER") == "1"
WAIT_FOR_OTHERS_S = 600.0  # a node level is one at a time on a machine
FOR_CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
FOR_NODES = (
    *FOR_CONTROL_PLANE,
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "metrics-server",
    "pause",
    "kube-router",
)
LEVELS = ("one_node", "no_nodes", "three_nodes")
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_level)
    asked_for = REQUIRED or re.search(r"(?<!not )\bcluster\b", config.option.markexpr or "")
    if asked_for:
        return
    skip = pytest.mark.skip(reason="needs a Kubernetes: `make test-cluster`, or `pytest -m cluster` on some of them")
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(skip)


def _level(item: pytest.Item) -> int:
    """Tests of one level run together: a change of level starts a cluster anew, which takes a minute."""
    wanted = set(getattr(item, "fixturenames", ()))
    return next((rank for rank, level in enumerate(LEVELS) if level in wanted), -1)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """etcd, API server and controllers: any user, ten seconds. Pods are accepted and never run."""
    demand(FOR_CONTROL_PLANE)
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def control_plane_namespace(control_plane: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _namespace(control_plane, request)


class NodeLevel:
    """The one cluster with nodes that this machine can have at a time; changing its size means starting anew."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._nodes = 0

    def cluster(self, nodes: int) -> Cluster:
        demand(FOR_NODES, root=True)
        if self._cluster is None or self._nodes != nodes:
            self.release()
            self._cluster, self._nodes = Cluster(nodes=nodes, wait_s=WAIT_FOR_OTHERS_S), nodes
            self._cluster.start()
            for archive in product_archives():
                self._cluster.load_image(archive)
        return self._cluster

    @property
    def running(self) -> bool:
        return self._cluster is not None

    def release(self) -> None:
        """Frees the machine's addresses, for a test that starts a cluster itself."""
        if self._cluster is not None:
            self._cluster.stop()
        self._cluster = None


@pytest.fixture(scope="session")
def node_level() -> Iterator[NodeLevel]:
    level = NodeLevel()
    yield level
    level.release()


@pytest.fixture(scope="module")
def one_node(node_level: NodeLevel) -> Cluster:
    """A cluster where pods run, with both product images in it as `energy:dev` and `energy-prescaler:dev`."""
    return node_level.cluster(1)


@pytest.fixture(scope="module")
def three_nodes(node_level: NodeLevel) -> Cluster:
    """The same with three nodes, `cluster.nodes[i]`, to cut, heal, kill and drain."""
    return node_level.cluster(3)


@pytest.fixture
def no_nodes(node_level: NodeLevel) -> None:
    """Nobody's nodes are running: the test may start its own."""
    demand(FOR_NODES, root=True)
    node_level.release()


@pytest.fixture
def one_node_namespace(one_node: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _namespace(one_node, request)


@pytest.fixture
def three_nodes_namespace(three_nodes: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _namespace(three_nodes, request)


@pytest.fixture(scope="module")
def pod_database(node_level: NodeLevel) -> Iterator[Database]:
    """A PostgreSQL outside the cluster that pods reach; ask for `one_node` or `three_nodes` before it."""
    assert node_level.running, "the address that the database listens on comes with the nodes"
    folder = Path(tempfile.mkdtemp(prefix="energy-pg-"))
    folder.chmod(0o755)  # the server runs as a user of its own
    database = Database(folder / "data")
    database.start()
    yield database
    database.stop()
    shutil.rmtree(folder)


def product_archives() -> list[Path]:
    archives = [ARCHIVES / f"{name}.tar" for name in IMAGES]
    absent = [archive.name for archive in archives if not archive.exists()]
    if absent:
        _give_up(f"no image archives {', '.join(absent)} (`make images` builds them)")
    return archives


def _namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own that enforces Pod Security `restricted`, with its ServiceAccount there already."""
    with in_new_namespace(cluster, request.node.name) as name:
        yield name


@contextmanager
def in_new_namespace(cluster: Cluster, title: str) -> Iterator[str]:
    name = re.sub(r"[^a-z0-9]+", "-", f"{title}-{os.urandom(3).hex()}".lower()).strip("-")[-50:].strip("-")
    namespace: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
    cluster.kubectl.apply(namespace)
    cluster.kubectl.wait_for("serviceaccount", "default", bool, "exists", namespace=name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def demand(programs: tuple[str, ...], *, root: bool = False) -> None:
    """Skips with the way out, or fails when the cluster is required."""
    reasons = []
    if absent := missing(programs):
        reasons.append(f"not built yet: {', '.join(absent)} (`make cluster-tools` builds them once, in minutes)")
    if root and os.geteuid() != 0:
        reasons.append("nodes need root (network namespaces, containerd)")
    if root and not shutil.which("apt-get") and not shutil.which("containerd"):
        reasons.append("containerd isn't installed, and without apt-get the harness can't install it")
    if reasons:
        _give_up("; ".join(reasons))


def _give_up(reason: str) -> None:
    if REQUIRED:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
