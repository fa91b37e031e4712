"""The chart's PostgreSQL by CloudNativePG, for real: 300 readings a second while its primary, a node and the operator go.

`make test-cnpg` runs it and leaves the figures in build/cnpg.json. Each fault must end by itself: no pod of the service is restarted,
nothing acknowledged is lost, nothing is there twice. The control loses: it shows that losses would be seen.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.chart import meters
from cluster.chart.figures import note
from cluster.chart.release import Release
from cluster.fixtures import in_new_namespace
from loadtest import ledger, runner
from tools.cluster import Cluster, RefusedError, cloudnativepg
from tools.cluster.node import Node
from tools.local.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]
NAME = "energy-postgresql"
RUN = ("cnpg", "PostgreSQL by CloudNativePG, 300 readings a second")
RATE, WARM_S = 300, 10
LOAD_S, LOAD_WITHOUT_NODE_S = 40, 75  # longer than the outage, whose end only new readings show to the second
GAP_MAX_S = 90  # sixteen seconds until Kubernetes misses a node, and sometimes thirty of CloudNativePG's own
# Policies are enforced here, and the host counts what is stored.
HOST_COUNTS = {"ports": [{"port": 5432, "protocol": "TCP"}], "from": [{"ipBlock": {"cidr": "10.0.2.0/24"}}]}
VALUES: dict[str, Any] = {
    "database": {"kind": "cloudnativepg", "connectionBudget": 95},
    "cloudnativepg": {
        "image": cloudnativepg.POSTGRES, "parameters": {"shared_buffers": "64MB"}, "storage": {"size": "1Gi"}, "spread": "DoNotSchedule",
        "resources": {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}},
    },
    "autoscaling": {"minReplicas": 3, "maxReplicas": 4},
    "operator": {"enabled": False},
    "networkPolicy": {"cloudnativepg": {"extraIngress": [HOST_COUNTS]}},
}  # fmt: skip


class Installed:
    """The release and its database, as a person who breaks them sees them."""

    def __init__(self, cluster: Cluster, release: Release) -> None:
        self.cluster, self.release, self.kubectl = cluster, release, cluster.kubectl
        self.here = ("-n", release.namespace)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.release.get("cluster.postgresql.cnpg.io", NAME).get("status", {})
        return found

    @property
    def primary(self) -> str:
        return str(self.status()["currentPrimary"])

    def healthy(self) -> bool:
        status = self.status()
        return status.get("readyInstances") == 3 and status.get("phase") == "Cluster in healthy state"

    def wait_healthy(self) -> None:
        until(self.healthy, "three instances are healthy", timeout_s=180)

    def wait_for_another(self, old: str) -> None:
        until(
            lambda: self.status().get("currentPrimary") not in {old, None}, f"another primary than {old}", timeout_s=120
        )

    def node_of(self, pod: str) -> Node:
        name = self.release.get("pod", pod)["spec"]["nodeName"]
        return next(node for node in self.cluster.nodes if node.name == name)

    def restarts(self, but_on: str) -> dict[str, int]:
        """Of the service's pods, but those on one node."""
        pods = self.kubectl.items("pods", namespace=self.release.namespace, selector="app.kubernetes.io/component=app")
        return {
            pod["metadata"]["name"]: sum(
                status["restartCount"] for status in pod["status"].get("containerStatuses", [])
            )
            for pod in pods
            if pod["spec"].get("nodeName") != but_on
        }

    @property
    def url(self) -> str:
        """For the host, through the Service of the primary."""
        words = ("get", "secret", f"{NAME}-app", *self.here, "-o", "go-template={{.data.password | base64decode}}")
        address = self.release.get("service", f"{NAME}-rw")["spec"]["clusterIP"]
        return f"postgresql://energy_owner:{self.kubectl(*words)}@{address}:5432/energy?sslmode=require"


@pytest.fixture(scope="module")
def installed(three_nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    cloudnativepg.install(three_nodes)
    with in_new_namespace(three_nodes, "cnpg") as namespace:
        release = Release(three_nodes, namespace, tmp_path_factory.mktemp("cnpg"), VALUES)
        started = time.monotonic()
        release.install()
        made = Installed(three_nodes, release)
        made.wait_healthy()
        until(lambda: len(release.ready_pods()) >= 3, "three pods of the service are ready", timeout_s=60)
        print(f"installed and healthy in {time.monotonic() - started:.0f} s")  # noqa: T201 - a figure of the run
        yield made
        release.helm("uninstall", "energy")


def kill_the_primarys_pod(database: Installed) -> None:
    old = database.primary
    database.kubectl("delete", "pod", old, *database.here, "--grace-period=0", "--force", "--wait=false")
    database.wait_for_another(old)


def switch_over(database: Installed) -> None:
    """What `kubectl cnpg promote` writes."""
    old = database.primary
    other = next(name for name in database.status()["instanceNames"] if name != old)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    status = {
        "targetPrimary": other,
        "targetPrimaryTimestamp": now,
        "phase": "Switchover in progress",
        "phaseReason": f"to {other}",
    }
    database.kubectl(
        "patch", "cluster.postgresql.cnpg.io", NAME, *database.here, "--subresource=status", "--type=merge",
        f"--patch={json.dumps({'status': status})}",
    )  # fmt: skip
    database.wait_for_another(old)


def cut_the_primarys_node(database: Installed) -> None:
    _without(database, Node.cut)


def kill_the_primarys_node(database: Installed) -> None:
    _without(database, Node.kill)


def _without(database: Installed, fault: Callable[[Node], None]) -> None:
    old = database.primary
    node = database.node_of(old)
    fault(node)
    try:
        database.wait_for_another(old)
    finally:
        node.heal()
    node.wait_ready()


def stop_the_operator(database: Installed) -> None:
    """Nobody watches the database for a while; that alone must not be noticed."""
    scale = ("scale", cloudnativepg.OPERATOR, "-n", cloudnativepg.NAMESPACE)
    database.kubectl(*scale, "--replicas=0")
    try:
        until(
            lambda: not database.kubectl.items("pods", namespace=cloudnativepg.NAMESPACE),
            "the operator is gone",
            timeout_s=60,
        )
        database.kubectl("exec", database.primary, *database.here, "--", "true")
    finally:
        database.kubectl(*scale, "--replicas=2")
        database.kubectl.rollout(cloudnativepg.OPERATOR, namespace=cloudnativepg.NAMESPACE)


FAULTS = {
    "planned switchover": switch_over,
    "primary's pod killed": kill_the_primarys_pod,
    "CloudNativePG's operator gone": stop_the_operator,
    "primary's node cut off": cut_the_primarys_node,
    "primary's node killed": kill_the_primarys_node,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_reading_is_lost_and_nothing_is_restarted(fault: str, installed: Installed, tmp_path: Path) -> None:
    installed.wait_healthy()
    node = installed.node_of(installed.primary).name if "node" in fault else ""
    before = installed.restarts(node)
    address = f"http://{installed.release.get('service', 'energy')['spec']['clusterIP']}"
    seconds = LOAD_WITHOUT_NODE_S if "node" in fault else LOAD_S
    with sending(installed, tmp_path, address, seconds=seconds) as load:
        time.sleep(WARM_S)  # the load before the fault is part of the measurement
        struck = time.time()
        FAULTS[fault](installed)
    found = load.counted(installed) | {"struck_s": round(struck - load.started, 1)}
    note(*RUN, fault, found)
    assert (found["lost"], found["duplicated"], found["stored_though_refused"]) == (0, 0, 0)
    assert found["acknowledged"] >= 0.99 * RATE * seconds
    assert found["longest_gap_s"] < GAP_MAX_S
    assert {name: count for name, count in installed.restarts(node).items() if name in before} == before


@contextmanager
def sending(
    database: Installed, folder: Path, address: str, seconds: int, rate: int = RATE, node: Node | None = None
) -> Iterator["Load"]:
    """The meters, on the host or in a node's network; they have ended when this does."""
    load = Load(folder)
    words = [sys.executable, meters.__file__, address, str(rate), str(seconds), str(folder / "ledger.log")]
    settings = {"LOAD_RUN": load.run, "LOAD_API_KEY": database.release.key()}
    with (
        (folder / "meters.log").open("wb") as log,
        subprocess.Popen(
            node.run_inside(*words) if node else words, env=os.environ | settings, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield load
            process.wait(seconds + meters.GIVES_UP_S + 30)
        finally:
            if process.poll() is None:
                process.terminate()
    assert process.returncode == 0, (folder / "meters.log").read_text()[-2000:]


class Load:
    """What was sent, and afterwards what came of it, judged by the load lab."""

    def __init__(self, folder: Path) -> None:
        self.run, self.folder, self.started = secrets.token_hex(4), folder, time.time()

    def counted(self, database: Installed) -> dict[str, Any]:
        until(lambda: answers(database), "the primary answers", timeout_s=60)
        verdict = runner.count(self.folder, self.run, database.url)
        assert verdict["lost"] is not None, verdict["not_counted_because"]
        lines = ledger.read(self.folder / "ledger.log").writes
        told = lines[lines["status"].isin(ledger.ACKNOWLEDGED)]
        at_s = np.sort((told["asked_ms"] + told["took_ms"]).to_numpy(float)) / 1000
        gap = float(np.diff(at_s).max()) if len(at_s) > 1 else float("nan")
        statuses = {str(status): int(count) for status, count in lines["status"].value_counts().items()}
        wanted = ("acknowledged", "stored", "lost", "duplicated", "stored_though_refused")
        return {name: verdict[name] for name in wanted} | {"longest_gap_s": round(gap, 1), "answers": statuses}


def answers(database: Installed) -> bool:
    try:
        psql(database, "SELECT 1")
    except RefusedError:
        return False
    return True


def test_the_control_without_waiting_for_a_standby_loses_readings(installed: Installed, tmp_path: Path) -> None:
    """The node of the primary is cut off while meters inside it go on sending to the pod there, which acknowledges what only it has."""
    installed.wait_healthy()
    patch = ("patch", "cluster.postgresql.cnpg.io", NAME, *installed.here, "--type=json")
    how = installed.release.get("cluster.postgresql.cnpg.io", NAME)["spec"]["postgresql"]["synchronous"]
    installed.kubectl(*patch, '--patch=[{"op": "remove", "path": "/spec/postgresql/synchronous"}]')
    try:
        until(lambda: not synchronous(installed), "commits wait for nobody", timeout_s=60)
        old = installed.primary
        node = installed.node_of(old)
        pods = {pod: installed.release.get("pod", pod) for pod in installed.release.ready_pods()}
        inside = next(pod["status"]["podIP"] for pod in pods.values() if pod["spec"]["nodeName"] == node.name)
        with sending(installed, tmp_path, f"http://{inside}:8000", seconds=40, rate=20, node=node) as load:
            time.sleep(WARM_S)
            _without(installed, Node.cut)
        installed.wait_healthy()
        found = load.counted(installed)
        note(*RUN, "control: asynchronous, node cut off, meters inside it", found)
    finally:
        installed.kubectl(
            *patch, f"--patch={json.dumps([{'op': 'add', 'path': '/spec/postgresql/synchronous', 'value': how}])}"
        )
        until(lambda: asked_for(installed), "commits wait again, or at the next reload", timeout_s=60)
        psql(
            installed, "SELECT pg_reload_conf()"
        )  # CloudNativePG may forget to, see the runbook of PostgresNotSynchronous
        until(lambda: synchronous(installed), "commits wait again", timeout_s=60)
    assert found["lost"] > 0, "the control must lose, or the judge can't see losses"


def synchronous(database: Installed) -> str:
    return psql(database, "SHOW synchronous_standby_names")


def asked_for(database: Installed) -> bool:
    """Whether PostgreSQL's files say what the Cluster does; it may not have read them."""
    wanted = "SELECT count(*) FROM pg_file_settings WHERE name = 'synchronous_standby_names' AND setting <> ''"
    return psql(database, wanted) != "0"


def psql(database: Installed, statement: str) -> str:
    words = ("exec", database.primary, *database.here, "-c", "postgres", "--", "psql", "-Atc", statement)
    return database.kubectl(*words).strip()
