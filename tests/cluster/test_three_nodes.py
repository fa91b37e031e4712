"""What only several nodes can show: pods spread, and the cluster outlives the loss of one."""

import subprocess

import httpx
import pytest

from cluster import objects
from tools.cluster import Cluster, Manifest, RefusedError
from tools.local.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ASKS_UNTIL_ALL_ANSWERED = """
import time, urllib.request
deadline, seen = time.monotonic() + 20, set()
while len(seen) < 3 and time.monotonic() < deadline:
    seen.add(urllib.request.urlopen("http://web", timeout=5).read().decode())
print(*sorted(seen))
"""


def ready_pods(cluster: Cluster, namespace: str) -> list[Manifest]:
    return [
        pod
        for pod in cluster.kubectl.items("pods", namespace=namespace, selector="app=web")
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    ]


def nodes_of(pods: list[Manifest]) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in pods}


def serve_web(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl.apply(objects.spread_web("web", namespace, 3), objects.service("web", namespace))
    cluster.kubectl.rollout("deployment/web", namespace=namespace)


def test_pods_spread_and_every_node_reaches_the_service(three_nodes: Cluster, three_nodes_namespace: str) -> None:
    serve_web(three_nodes, three_nodes_namespace)
    pods = ready_pods(three_nodes, three_nodes_namespace)
    assert nodes_of(pods) == {"node-1", "node-2", "node-3"}
    names = sorted(pod["metadata"]["name"] for pod in pods)
    for node in three_nodes.nodes:
        asks = f"asks-from-{node.name}"
        three_nodes.kubectl.apply(
            objects.script(asks, three_nodes_namespace, ASKS_UNTIL_ALL_ANSWERED, nodeName=node.name)
        )
        three_nodes.kubectl.wait_for(
            "pod", asks, lambda pod: pod["status"]["phase"] == "Succeeded", "has asked", namespace=three_nodes_namespace
        )
        assert three_nodes.kubectl("logs", asks, "-n", three_nodes_namespace).split() == names


def test_a_node_that_is_cut_off_is_noticed_and_comes_back(three_nodes: Cluster, three_nodes_namespace: str) -> None:
    serve_web(three_nodes, three_nodes_namespace)
    node = three_nodes.nodes[1]
    node.cut()
    try:
        node.wait_not_ready()
        until(
            lambda: node.name not in nodes_of(ready_pods(three_nodes, three_nodes_namespace)),
            "the Service no longer counts on the node",
        )
    finally:
        node.heal()
    node.wait_ready()


def test_this_machine_reaches_services_when_the_first_node_is_cut(
    three_nodes: Cluster, three_nodes_namespace: str
) -> None:
    serve_web(three_nodes, three_nodes_namespace)
    address = three_nodes.kubectl.get("service", "web", namespace=three_nodes_namespace)["spec"]["clusterIP"]
    node = three_nodes.nodes[0]
    node.cut()
    try:
        until(lambda: answered(address), "a pod of another node answers through another node", timeout_s=30)
    finally:
        node.heal()
    node.wait_ready()


def answered(address: str) -> bool:
    """One attempt: the Service still names the pod on the cut node, which answers nobody."""
    try:
        return httpx.get(f"http://{address}", timeout=1, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_a_node_soon_forgets_calls_that_a_dead_pod_never_answered(three_nodes: Cluster) -> None:
    for node in three_nodes.nodes:
        reads = node.run_inside("sysctl", "-n", "net.netfilter.nf_conntrack_tcp_timeout_syn_sent")
        assert int(subprocess.run(reads, capture_output=True, text=True, check=True).stdout) <= 3


def test_a_drain_respects_the_budget(three_nodes: Cluster, three_nodes_namespace: str) -> None:
    serve_web(three_nodes, three_nodes_namespace)
    node = three_nodes.nodes[2]
    before = {pod["metadata"]["uid"] for pod in ready_pods(three_nodes, three_nodes_namespace)}
    three_nodes.kubectl.apply(objects.budget("web", three_nodes_namespace, minAvailable=3))
    three_nodes.kubectl.wait_for(
        "pdb",
        "web",
        lambda seen: seen.get("status", {}).get("currentHealthy") == 3,
        "counts its pods",
        namespace=three_nodes_namespace,
    )
    try:
        with pytest.raises(RefusedError, match="disruption budget"):
            node.drain(timeout_s=10)
        assert {pod["metadata"]["uid"] for pod in ready_pods(three_nodes, three_nodes_namespace)} == before
        three_nodes.kubectl.apply(objects.budget("web", three_nodes_namespace, minAvailable=2))
        node.drain(timeout_s=60)
        assert node.name not in nodes_of(ready_pods(three_nodes, three_nodes_namespace))
    finally:
        node.uncordon()


def test_the_pods_of_a_killed_node_move(three_nodes: Cluster, three_nodes_namespace: str) -> None:
    serve_web(three_nodes, three_nodes_namespace)
    node = three_nodes.nodes[2]
    node.kill()
    try:
        moved = until(
            lambda: three_elsewhere(three_nodes, three_nodes_namespace, node.name),
            "three pods run on the other nodes",
            timeout_s=90,
        )
        assert nodes_of(moved) == {"node-1", "node-2"}
    finally:
        node.heal()
    node.wait_ready()


def three_elsewhere(cluster: Cluster, namespace: str, lost: str) -> list[Manifest]:
    pods = [pod for pod in ready_pods(cluster, namespace) if pod["spec"]["nodeName"] != lost]
    return pods if len(pods) == 3 else []
