"""Where pods really run: Ready before a window that opens in two minutes, and a warning in time where they can't be."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster import objects
from cluster.operator.conftest import install_crd
from prescaler.kube.objects import GROUP, VERSION
from tools.cluster import Cluster, Manifest
from tools.local.waiting import until
from unit.prescaler.rig import START

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

OPENS_IN_S = 120
LEAD_S = 90


def workload(name: str, namespace: str, cpu: str) -> list[Manifest]:
    """A Deployment, an HPA that may not scale up by its own policy, and a window for it."""
    main = objects.container("python", "-c", objects.SLEEP, resources={"requests": {"cpu": cpu, "memory": "16Mi"}})
    meta = {"name": name, "namespace": namespace}
    return [
        objects.deployment(name, namespace, 1, objects.pod_spec(main)),
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": meta,
            "spec": {
                "minReplicas": 1,
                "maxReplicas": 8,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "behavior": {"scaleUp": {"selectPolicy": "Disabled"}},
            },
        },
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "BillingWindow",
            "metadata": meta,
            "spec": {
                "targetRef": {"name": name},
                "baseline": {"minReplicas": 1},
                "timeZones": ["Europe/Moscow"],
                "leadTime": f"{LEAD_S}s",
                "windows": [{"name": "monthly", "fromDay": 15, "toDay": 26, "minReplicas": 4}],
            },
        },
    ]


@pytest.fixture
def operator(one_node: Cluster, one_node_namespace: str) -> Iterator[datetime]:
    """The operator with a rehearsal clock, two minutes before the 15th. Gives the real time at which the window opens."""
    install_crd(one_node)
    one_node.kubectl.apply(*workload("fits", one_node_namespace, "10m"), *workload("huge", one_node_namespace, "900m"))
    one_node.kubectl.rollout("deployment/fits", "deployment/huge", namespace=one_node_namespace)
    command = [sys.executable, "-m", "prescaler", "run", "-n", one_node_namespace]
    clock = {"PRESCALER_CLOCK_START": (START - timedelta(seconds=OPENS_IN_S)).isoformat()}
    opens = datetime.now(UTC) + timedelta(seconds=OPENS_IN_S)
    with subprocess.Popen(command, env=os.environ | clock | {"KUBECONFIG": str(one_node.kubeconfig)}) as process:
        try:
            yield opens
        finally:
            process.terminate()
            process.wait(30)


def condition(window: Manifest, kind: str) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {c["type"]: c for c in window.get("status", {}).get("conditions", [])}
    return found.get(kind, {"status": "", "reason": "", "message": ""})


def test_pods_are_ready_before_the_window_and_a_shortage_is_told_in_time(
    one_node: Cluster, one_node_namespace: str, operator: datetime
) -> None:
    kubectl, namespace = one_node.kubectl, one_node_namespace

    def window(name: str) -> Manifest:
        return kubectl.get("billingwindow", name, namespace=namespace)

    until(lambda: condition(window("huge"), "CapacitySufficient")["status"] == "False", "the shortage is told")
    told = datetime.now(UTC)
    assert told < operator - timedelta(seconds=LEAD_S / 2), "at least half the lead time before"
    assert condition(window("huge"), "CapacitySufficient")["reason"] in {"NodeCapacity", "Unschedulable"}
    until(lambda: condition(window("fits"), "PreScaled")["status"] == "True", "4 pods are Ready", timeout_s=100)
    ready = datetime.now(UTC)
    assert ready < operator
    pods = kubectl.items("pods", namespace=namespace, selector="app=fits")
    assert sum(c["type"] == "Ready" and c["status"] == "True" for p in pods for c in p["status"]["conditions"]) == 4
    until(lambda: window("fits")["status"]["phase"] == "Active", "the window opens", timeout_s=120)
    print(f"\nwarned {(operator - told).seconds} s, Ready {(operator - ready).seconds} s before the window")  # noqa: T201
    (entry,) = window("fits")["status"]["history"]
    assert entry["readyAtStart"] == "4 of 4"
    assert entry["actualStart"] == entry["plannedStart"] == "2027-01-14T21:00:00Z"
    events = kubectl("get", "events", "-n", namespace)
    assert "WontBeReady" in events
    print(kubectl("get", "bw", "-n", namespace))  # noqa: T201 - what a person sees
