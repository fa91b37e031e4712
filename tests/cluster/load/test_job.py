"""`make load-cluster`: k6 as the chart's Job, its log as the ledger, the verdict from the database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.chart.release import EXTERNAL, Release, new_database
from cluster.database import Database
from loadtest import incluster, report, runner
from loadtest.evidence import Evidence
from loadtest.runner import Target
from loadtest.sampler import Cluster as Watched
from tools.cluster import Cluster
from tools.cluster.binaries import program

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

VALUES = {
    "operator": {"enabled": False},  # its CRD would stay in the cluster as this release's
    "load": {
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
    },
}
SETTINGS = {"LOAD_RATE": "100", "LOAD_DURATION_S": "20", "LOAD_P99_MS": "5000", "LOAD_VUS_MAX": "200"}


def test_a_job_in_the_cluster_ends_in_a_report_with_a_verdict(
    one_node: Cluster, one_node_namespace: str, pod_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOAD_IMAGE", "energy-k6:dev")
    one_node.load_image(incluster.image(tmp_path / "k6.tar"))
    database_url = new_database(one_node, one_node_namespace, pod_database.url)
    Release(one_node, one_node_namespace, tmp_path, EXTERNAL, VALUES).install()
    monkeypatch.setenv(incluster.HELM, str(program("helm-v4")))
    monkeypatch.setenv("PATH", f"{program('kubectl').parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(one_node.kubeconfig))
    monkeypatch.setenv("LOAD_NAMESPACE", one_node_namespace)
    watched = Watched(one_node_namespace, "energy", "app.kubernetes.io/instance=energy,app.kubernetes.io/component=app")
    folder = runner.new_folder("cluster-peak")
    runner.run(
        "peak", Target((), "Peak in the cluster", database_url, watched), folder, SETTINGS, drive=incluster.drive
    )
    report.write(folder)

    run = Evidence(folder)
    assert run.missing == []
    assert (run.verdict["lost"], run.verdict["duplicated"]) == (0, 0)
    assert run.verdict["acknowledged"] == run.verdict["stored"] > 1_000
