"""The chart on three nodes: no reading is lost while a node is drained and while one is cut off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.chart.release import EXTERNAL, Release, load, new_database, settled
from cluster.database import Database
from tools.cluster import Cluster
from tools.local.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600, func_only=True)]
SPREAD = {"autoscaling": {"minReplicas": 3, "maxReplicas": 4}, "operator": {"enabled": False}}


@pytest.fixture
def release(
    three_nodes: Cluster, three_nodes_namespace: str, pod_database: Database, tmp_path: Path
) -> Iterator[tuple[Release, str]]:
    url = new_database(three_nodes, three_nodes_namespace, pod_database.url)
    made = Release(three_nodes, three_nodes_namespace, tmp_path, EXTERNAL, SPREAD)
    made.install()
    until(lambda: len(made.ready_pods()) >= 3, "three pods are ready", timeout_s=60)
    yield made, url
    made.helm("uninstall", "energy")


def test_no_reading_is_lost_while_a_node_is_drained_and_one_is_cut_off(
    release: tuple[Release, str], three_nodes: Cluster, tmp_path: Path
) -> None:
    made, url = release
    drained, cut = three_nodes.nodes[0], three_nodes.nodes[1]
    with load(made, tmp_path, rate=300, seconds=110) as running:
        drained.drain()
        assert made.ready_pods(), "the budget kept pods serving"
        drained.uncordon()
        until(lambda: len(made.ready_pods()) >= 3, "three pods again", timeout_s=60)
        cut.cut()
        cut.wait_not_ready()
        cut.heal()
        cut.wait_ready()
        settled(running, url)
