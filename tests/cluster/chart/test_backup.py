"""A PostgreSQL by CloudNativePG is copied to an object store, lost with its disk, and begins again from the copy.

The operator, the Barman Cloud plugin and the object store are the real ones; the chart's policies are enforced.
"""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from cluster.chart.release import Release
from tools.cluster import Cluster, backups, cloudnativepg
from tools.local.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]
NAME = "energy-postgresql"
SENT = 200
VALUES: dict[str, Any] = {
    "database": {"kind": "cloudnativepg", "connectionBudget": 95},
    "cloudnativepg": {
        "instances": 1, "image": cloudnativepg.POSTGRES, "parameters": {"shared_buffers": "64MB"}, "storage": {"size": "1Gi"},
        "resources": {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}},
    },
    "autoscaling": {"minReplicas": 1, "maxReplicas": 2},
    "operator": {"enabled": False},
}  # fmt: skip


def test_what_was_archived_is_there_again_after_the_loss_of_every_disk(
    one_node: Cluster, one_node_namespace: str, tmp_path: Path
) -> None:
    cloudnativepg.install(one_node)
    backups.install(one_node, tmp_path)
    credentials = {"kind": "Secret", "apiVersion": "v1", "stringData": backups.CREDENTIALS,
                   "metadata": {"name": "objects", "namespace": one_node_namespace}}  # fmt: skip
    one_node.kubectl.apply(credentials)
    with backups.object_store(tmp_path) as address:
        first = release(one_node, one_node_namespace, tmp_path / "first", address)
        sent = [uuid4() for _ in range(SENT)]
        assert asyncio.run(answers(first, sent[: SENT // 2])) == {201}
        until(lambda: backed_up(first), "the first copy is whole", timeout_s=180)
        assert asyncio.run(answers(first, sent[SENT // 2 :])) == {201}
        newest = psql(first, "SELECT pg_walfile_name(pg_switch_wal())")
        until(lambda: psql(first, ARCHIVED) >= newest, "the last WAL is archived", timeout_s=60)
        lose(first)

        restored = {"backup": {"restoreFrom": NAME, "serverName": f"{NAME}-2"}}
        second = release(one_node, one_node_namespace, tmp_path / "second", address, {"cloudnativepg": restored})
        assert psql(second, "SELECT count(*) FROM readings") == str(SENT)
        until(lambda: asyncio.run(answers(second, sent[:1])) != {401}, "the new admin key is valid", timeout_s=60)
        assert asyncio.run(answers(second, sent)) == {200}
        assert asyncio.run(answers(second, [uuid4()])) == {201}
        psql(second, "SELECT pg_switch_wal()")
        until(lambda: psql(second, ARCHIVED), "the restored database archives too", timeout_s=60)
        second.helm("uninstall", "energy")
    found = {folder.name for folder in (tmp_path / "objects" / backups.BUCKET).iterdir() if folder.name[0] != "."}
    assert found == {NAME, f"{NAME}-2"}


ARCHIVED = "SELECT last_archived_wal FROM pg_stat_archiver"


def release(cluster: Cluster, namespace: str, folder: Path, address: str, *values: dict[str, Any]) -> Release:
    folder.mkdir()
    keys = {"accessKeyId": {"name": "objects", "key": "id"}, "secretAccessKey": {"name": "objects", "key": "key"}}
    store = {"destinationPath": f"s3://{backups.BUCKET}/", "endpointURL": address, "s3Credentials": keys}
    made = Release(cluster, namespace, folder, VALUES, {"cloudnativepg": {"backup": {"objectStore": store}}}, *values)
    made.install()
    until(made.ready_pods, "a pod of the service is ready", timeout_s=120)
    return made


async def answers(to: Release, readings: list[UUID]) -> set[int]:
    """The statuses of these readings, each sent once."""
    address = f"http://{to.get('service', 'energy')['spec']['clusterIP']}"
    async with httpx.AsyncClient(base_url=address, headers={"authorization": f"Bearer {to.key()}"}) as client:
        bodies = [{"device_id": str(one), "reading_id": str(one), "register": "T0", "value": "1"} for one in readings]
        return {(await client.post("/v1/readings", json=body)).status_code for body in bodies}


def backed_up(of: Release) -> bool:
    found = of.cluster.kubectl.items("backups.postgresql.cnpg.io", namespace=of.namespace)
    return any(backup.get("status", {}).get("phase") == "completed" for backup in found)


def psql(of: Release, statement: str) -> str:
    primary = of.get("cluster.postgresql.cnpg.io", NAME)["status"]["currentPrimary"]
    words = ("exec", primary, "-n", of.namespace, "-c", "postgres", "--", "psql", "-Atc", statement, "energy")
    return of.cluster.kubectl(*words).strip()


def lose(what: Release) -> None:
    """The release, and the Cluster that it leaves behind, with its volumes and Secrets."""
    kubectl, here = what.cluster.kubectl, ("-n", what.namespace)
    what.helm("uninstall", "energy")
    kubectl("delete", "cluster.postgresql.cnpg.io", NAME, *here, "--wait=true")
    until(lambda: not kubectl.items("persistentvolumeclaims", namespace=what.namespace), "the volumes are gone")
    kubectl("delete", "secret", "energy-bootstrap", f"{NAME}-service", *here, "--ignore-not-found")
