"""A cluster comes quickly, goes without a trace, and comes again after a crash."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster import objects
from tools.cluster import BusyError, Cluster
from tools.cluster.remains import read_record, traces

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

STARTS_AND_WAITS = "from tools.cluster import Cluster; Cluster(nodes=1).start(); print('up', flush=True); input()"
ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("no_nodes")
def test_a_stopped_cluster_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    from_start = time.monotonic()
    cluster = Cluster(nodes=1)
    cluster.start()
    took_s = time.monotonic() - from_start
    try:
        folder = cluster.folder
        nobody = objects.pod("nobody", "default", objects.pod_spec(objects.container("none", image="pause:1")))
        del nobody["spec"]["containers"][0]["args"]
        cluster.kubectl.apply(nobody)
        cluster.kubectl("wait", "pod/nobody", "--for=condition=Ready", "--timeout=60s")
        record = list(read_record(folder))
        running = traces(folder, record)
        assert {"process", "shim", "mount", "cgroup", "netns", "link"} <= {trace.split()[0] for trace in running}
    finally:
        cluster.stop()
    assert traces(folder, record) == []
    with capsys.disabled():
        print(f"\none node Ready {took_s:.1f} s after the start")  # noqa: T201 - the figure is what a reader wants
    assert took_s < 40


@pytest.mark.usefixtures("no_nodes")
def test_a_cluster_starts_after_the_last_run_was_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as harness:
        assert harness.stdout is not None
        assert harness.stdout.readline() == b"up\n"
        with pytest.raises(BusyError, match="another run holds"):
            Cluster(nodes=1).start()
        harness.kill()
    with Cluster(nodes=1) as cluster:
        assert "node-1" in cluster.kubectl("get", "nodes")
        folder, record = cluster.folder, list(read_record(cluster.folder))
    assert traces(folder, record) == []


@pytest.mark.usefixtures("no_nodes")
def test_a_person_kills_a_node_and_brings_it_back() -> None:
    cluster = Cluster(nodes=1)
    cluster.start()
    node, folder, record = cluster.nodes[0], cluster.folder, list(read_record(cluster.folder))
    cluster.keep()
    try:
        for_people("kill", "1")
        node.wait_not_ready()
        for_people("heal", "1")
        node.wait_ready()
        for_people("drain", "1")
        assert cluster.kubectl.get("node", "node-1")["spec"]["unschedulable"]
        for_people("heal", "1")
        assert "unschedulable" not in cluster.kubectl.get("node", "node-1")["spec"]
        record = list(read_record(folder))
    finally:
        for_people("down")
        cluster.stop()  # nothing is left to end; its children are waited for
    assert traces(folder, record) == []


def for_people(*words: str) -> None:
    """As `make cluster-kill NODE=1` and its like do."""
    subprocess.run([sys.executable, "-m", "tools.cluster", *words], cwd=ROOT, check=True, timeout=120)
