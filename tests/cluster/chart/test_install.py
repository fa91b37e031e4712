"""The chart on a node, from install to uninstall, on a PostgreSQL outside the cluster, with both Helms."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cluster.chart.release import EXTERNAL, Release, load, new_database, settled
from cluster.database import Database
from tools.cluster import Cluster
from tools.local.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600, func_only=True)]


CRD = "billingwindows.prescaler.energy-readings.dev"
ROOT = Path(__file__).parents[3]
MINIMUM = '{"spec": {"minReplicas": 3}}'


@pytest.fixture
def no_crd(one_node: Cluster) -> Iterator[None]:
    """Helm brings the CRD when it isn't there and leaves it when a release goes: each test starts and ends without it."""
    one_node.kubectl("delete", "crd", CRD, "--ignore-not-found", "--timeout=60s")
    yield
    one_node.kubectl("delete", "crd", CRD, "--ignore-not-found", "--timeout=60s")


@pytest.fixture
def database_url(one_node: Cluster, one_node_namespace: str, pod_database: Database, no_crd: None) -> str:
    assert no_crd is None
    return new_database(one_node, one_node_namespace, pod_database.url)


@pytest.mark.usefixtures("database_url")
@pytest.mark.parametrize("helm", [4, 3])
def test_install_test_upgrade_rollback_uninstall(
    helm: int, one_node: Cluster, one_node_namespace: str, tmp_path: Path
) -> None:
    release = Release(one_node, one_node_namespace, tmp_path, EXTERNAL, helm=helm)
    kubectl, here = one_node.kubectl, ("-n", one_node_namespace)
    release.install()
    release.helm("test", "energy")
    key = release.key()

    window = kubectl.wait_for(
        "billingwindow",
        "energy",
        lambda bw: bw.get("status", {}).get("phase"),
        "has a phase",
        namespace=one_node_namespace,
    )
    assert window["status"]["phase"] != "Invalid"
    kubectl("scale", "deployment/energy", "--replicas=3", *here)  # as an HPA does, through the scale subresource
    kubectl("patch", "hpa", "energy", *here, "--field-manager=somebody", "--type=merge", "--patch", MINIMUM)
    before = release.names("jobs")

    release.upgrade("--set=app.podAnnotations.changed=yes")
    assert release.get("hpa", "energy")["spec"]["minReplicas"] == 3
    assert release.get("deployment", "energy")["spec"]["replicas"] == 3
    assert not release.names("jobs") & before, "an upgrade runs its Jobs again, also one that has failed"
    release.helm("rollback", "energy", "1", "--wait")
    assert "annotations" not in release.get("deployment", "energy")["spec"]["template"]["metadata"]
    assert release.key() == key

    manifests = release.template()
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=argo", *here, "-f", "-", given=manifests)
    assert release.get("hpa", "energy")["spec"]["minReplicas"] == 3
    assert release.get("deployment", "energy")["spec"]["replicas"] == 3
    assert release.key() == key, "a re-apply doesn't empty the Secret that a Job filled"

    release.helm("uninstall", "energy", "--wait")
    until(lambda: not release.names("pods"), "the pods are gone", timeout_s=90)
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    left = {
        f"{kind}/{name}"
        for kind in kinds
        if "events" not in kind and "metrics" not in kind
        for name in release.names(kind)
    }
    assert left == {"secrets/energy-bootstrap"}
    assert not kubectl("get", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/instance=energy", "-o", "name")
    assert not kubectl("get", "billingwindows", *here, "-o", "name")
    kubectl("get", "crd", CRD)


@pytest.mark.usefixtures("database_url")
def test_the_chart_of_the_previous_commit_can_be_upgraded(
    one_node: Cluster, one_node_namespace: str, tmp_path: Path
) -> None:
    release = Release(one_node, one_node_namespace, tmp_path, EXTERNAL)
    release.install("--set=cockroachdb.enabled=false", chart=previous_chart(tmp_path))  # its word for database.kind
    key = release.key()
    release.upgrade()
    assert release.key() == key
    release.helm("test", "energy")
    release.helm("uninstall", "energy", "--wait")


@pytest.mark.usefixtures("database_url")
def test_a_new_cluster_on_an_old_database_has_an_admin_key_that_works(
    one_node: Cluster, one_node_namespace: str, tmp_path: Path
) -> None:
    """After a disaster: the database was restored, the Secrets were not."""
    release = Release(one_node, one_node_namespace, tmp_path, EXTERNAL, {"operator": {"enabled": False}})
    release.install()
    old = release.key()
    release.helm("uninstall", "energy", "--wait")
    one_node.kubectl("delete", "secret", "energy-bootstrap", "-n", one_node_namespace)
    release.install()
    assert release.key() != old
    release.helm("test", "energy")
    release.helm("uninstall", "energy")


def previous_chart(folder: Path) -> Path:
    """The chart as it was before the last commit that changed it, or as it is where history is cut off."""
    commits = git("log", "-2", "--format=%H", "--", "helm/energy").split()
    (folder / "chart.tar").write_bytes(
        subprocess.run(
            ["git", "-C", ROOT, "archive", commits[-1], "helm/energy"], check=True, capture_output=True
        ).stdout
    )
    shutil.unpack_archive(folder / "chart.tar", folder)
    chart = folder / "helm" / "energy"
    (chart / "values.schema.json").unlink()  # it need not know the values of today
    return chart


def git(*words: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True, text=True).stdout


def has_taken_over(release: Release, gone: str) -> bool:
    pods = release.ready_pods()
    return len(pods) >= 2 and gone not in pods


def test_no_reading_is_lost_while_it_scales_rolls_and_loses_pods(
    one_node: Cluster, one_node_namespace: str, database_url: str, tmp_path: Path
) -> None:
    scaling = {"autoscaling": {"cpuUtilization": 40}, "operator": {"enabled": False}}
    release = Release(one_node, one_node_namespace, tmp_path, EXTERNAL, scaling)
    release.install()
    with load(release, tmp_path, rate=300, seconds=120) as running:
        until(lambda: len(release.ready_pods()) >= 2, "the HPA has scaled out", timeout_s=70)
        release.upgrade("--set=app.podAnnotations.rolled=once")
        for _ in range(2):
            victim = release.ready_pods()[0]
            one_node.kubectl("delete", "pod", victim, "-n", one_node_namespace, "--wait=false")
            until(partial(has_taken_over, release, victim), "another pod has taken over", timeout_s=60)
        assert running.running, "the faults came while the load was on"
        settled(running, database_url)
    release.helm("uninstall", "energy")
