"""The chart's CockroachDB wiring on a cluster, with a STAND-IN for CockroachDB (tools/standin).

Certificates, join, init, readiness, users, rolling restart and drain order. What CockroachDB itself does with them is not
shown here.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.chart.release import SMALL, Release, load
from cluster.database import Database
from tools.cluster import Cluster, Kubectl, RefusedError
from tools.cluster.binaries import program
from tools.standin.image import IMAGE, archive

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600, func_only=True)]
VOLUMES = 3
CONNECTS = """
import asyncio, asyncpg, os
async def main():
    connection = await asyncpg.connect({url})
    print(await connection.execute({sql!r}))
asyncio.run(main())
"""


@pytest.fixture
def volumes(one_node: Cluster) -> Iterator[str]:
    """Local volumes by hand: a storage class of its own."""
    name = "standin"
    disks = Path(tempfile.mkdtemp(prefix="energy-volumes-"))
    disks.chmod(0o755)
    for number in range(VOLUMES):
        (disks / str(number)).mkdir()
        (disks / str(number)).chmod(0o777)  # a hostPath isn't handed over to the pod's group
        one_node.kubectl.apply({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{name}-{number}"},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
                "hostPath": {"path": str(disks / str(number)), "type": "Directory"},
            },
        })  # fmt: skip
    yield name
    one_node.kubectl("delete", "pv", *(f"{name}-{number}" for number in range(VOLUMES)), "--wait=false")
    shutil.rmtree(disks)


def cockroachdb(database: Database, storage_class: str) -> dict[str, Any]:
    backend = database.url.split("@")[1].split("/")[0]
    return {
        "cockroachdb": {
            "image": {"repository": IMAGE, "tag": "dev", "pullPolicy": "Never"},
            "locality": f"region=test,backend={backend}",
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": SMALL["limits"]},
            "storage": {"className": storage_class, "size": "1Gi"},
            "minReadySeconds": 3,
            "drain": {"initialWaitSeconds": 5, "connectionsSeconds": 3, "transactionsSeconds": 1},
        },
        "operator": {"enabled": False},
        # The stand-in keeps its rows in a database outside; CockroachDB itself speaks to its own nodes alone.
        "networkPolicy": {"cockroachdb": {"extraEgress": [{"ports": [{"port": int(backend.split(":")[1])}]}]}},
    }


def test_three_nodes_come_up_over_tls_and_restart_one_by_one(
    one_node: Cluster, one_node_namespace: str, pod_database: Database, volumes: str, tmp_path: Path
) -> None:
    one_node.load_image(archive())
    kubectl, here = one_node.kubectl, ("-n", one_node_namespace)
    release = Release(one_node, one_node_namespace, tmp_path, cockroachdb(pod_database, volumes))
    release.install()
    release.helm("test", "energy")  # over TLS with the service's own client certificate; no password exists anywhere
    ready = release.get("statefulset", "energy-cockroachdb")["status"]["readyReplicas"]
    assert ready == 3
    clusters = {
        line.split()[-1]
        for number in range(3)
        for line in kubectl("logs", f"energy-cockroachdb-{number}", *here).splitlines()
        if "node is part of cluster" in line
    }
    assert len(clusters) == 1, "all three joined one cluster"

    only_rows(kubectl, here)
    renewed_certificates_roll_without_losing_a_reading(release, tmp_path)


def only_rows(kubectl: Kubectl, here: tuple[str, str]) -> None:
    """The service's user reads and writes rows and changes no schema; and a certificate is good for its own user only."""
    python = ("exec", "deployment/energy", *here, "--", "python", "-c")
    connect = CONNECTS
    url = "os.environ['ENERGY_DATABASE_URL']"
    assert "SELECT" in kubectl(*python, connect.format(url=url, sql="SELECT count(*) FROM readings"))
    for sql in ("DROP TABLE readings", "CREATE TABLE mine (x int)", "ALTER TABLE readings ADD COLUMN x int"):
        with pytest.raises(RefusedError, match=r"permission denied|must be owner"):
            kubectl(*python, connect.format(url=url, sql=sql))
    with pytest.raises(RefusedError, match="certificate of energy used as root"):
        kubectl(*python, connect.format(url=f"{url}.replace('//energy@', '//root@')", sql="SELECT 1"))


def renewed_certificates_roll_without_losing_a_reading(release: Release, folder: Path) -> None:
    """The quarterly CronJob, run now, while readings arrive: new certificates, every node restarted, one at a time."""
    kubectl, here = release.cluster.kubectl, ("-n", release.namespace)
    before = {name: release.get("secret", f"energy-cockroachdb-{name}")["data"]["tls.crt"] for name in ("node", "app")}
    authority = release.get("secret", "energy-cockroachdb-ca")["data"]
    pods = {number: release.get("pod", f"energy-cockroachdb-{number}")["metadata"]["uid"] for number in range(3)}
    with load(release, folder, rate=50, seconds=60) as running:
        kubectl("create", "job", "--from=cronjob/energy-cockroachdb-renew", "renew-now", *here)
        kubectl("wait", "--for=condition=Complete", "job/renew-now", "--timeout=60s", *here)
        with following(kubectl, here, "energy-cockroachdb-2") as said:
            kubectl.rollout("statefulset/energy-cockroachdb", namespace=release.namespace, timeout_s=150)
            steps = [line for line in said() if line.startswith("drain")]
        counts = running.counts()
    print(counts)  # noqa: T201 - the figures of the run
    assert [step[:7] for step in steps] == ["drain 1", "drain 2", "drain 3", "drain 4"]
    assert release.get("secret", "energy-cockroachdb-ca")["data"] == authority
    for name, certificate in before.items():
        assert release.get("secret", f"energy-cockroachdb-{name}")["data"]["tls.crt"] != certificate
    for number, uid in pods.items():
        assert release.get("pod", f"energy-cockroachdb-{number}")["metadata"]["uid"] != uid
    assert counts["gave_up"] == 0
    assert counts["acked"] == counts["iterations"] > 0


@contextmanager
def following(kubectl: Kubectl, here: tuple[str, str], pod: str) -> Iterator[Callable[[], list[str]]]:
    """Follows a pod's log in the background: what a pod says last is gone with it."""
    command = [str(program("kubectl")), f"--kubeconfig={kubectl.kubeconfig}", "logs", "-f", pod, *here]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield lambda: list(process.stdout or ())
        finally:
            process.terminate()
