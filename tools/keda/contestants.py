"""The same Deployment four times, each with another way to have eight pods while a window is open.

All have the same bounds and the same CPU target, so each would also follow the load. Cron knows no lead time; the early
cron is what a user of KEDA can do about that: write the start of the trigger earlier.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tools.cluster import Manifest

BASELINE, WANTED, MAXIMUM = 2, 8, 10
START_S = 20
LEAD = timedelta(minutes=1)
_CPU_PERCENT = 80
_PORT = 8000
Scaler = Callable[[str, datetime, datetime], list[Manifest]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to scale; `scaler` makes the objects that do it for the Deployment of the same name."""

    name: str
    scaler: Scaler

    def manifests(self, namespace: str, opens: datetime, closes: datetime) -> list[Manifest]:
        found = [_deployment(self.name), *self.scaler(self.name, opens, closes)]
        return [in_namespace(manifest, namespace) for manifest in found]


def in_namespace(manifest: Manifest, namespace: str) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def _on_an_hpa(name: str, opens: datetime, closes: datetime) -> list[Manifest]:
    target = {"type": "Utilization", "averageUtilization": _CPU_PERCENT}
    scaler: Manifest = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": BASELINE,
            "maxReplicas": MAXIMUM,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
    return [scaler, _window(name, "HorizontalPodAutoscaler", opens, closes)]


def _on_a_scaled_object(name: str, opens: datetime, closes: datetime) -> list[Manifest]:
    return [scaled_object(name), _window(name, "ScaledObject", opens, closes)]


def _cron(name: str, opens: datetime, closes: datetime) -> list[Manifest]:
    start, end = (
        f"{at.minute} {at.hour} {at.day} * *" for at in (opens, closes)
    )  # days, as one writes a billing window
    metadata = {"timezone": "UTC", "start": start, "end": end, "desiredReplicas": str(WANTED)}
    return [scaled_object(name, {"type": "cron", "metadata": metadata})]


def _early_cron(name: str, opens: datetime, closes: datetime) -> list[Manifest]:
    return _cron(name, opens - LEAD, closes)


def _window(name: str, kind: str, opens: datetime, closes: datetime) -> Manifest:
    times = {"startTime": f"{opens:%H:%M}", "endTime": f"{closes:%H:%M}"}
    window = {"name": "window", "fromDay": opens.day, "toDay": closes.day, "minReplicas": WANTED, **times}
    spec = {"timeZones": ["UTC"], "leadTime": f"{LEAD.seconds}s", "windows": [window]}
    return billing_window(name, {"kind": kind, "name": name}, spec)


def billing_window(name: str, target: dict[str, str], spec: Manifest) -> Manifest:
    return {
        "apiVersion": "prescaler.energy-readings.dev/v1alpha1",
        "kind": "BillingWindow",
        "metadata": {"name": name},
        "spec": {"targetRef": target, "baseline": {"minReplicas": BASELINE}, **spec},
    }


def scaled_object(name: str, *triggers: Manifest) -> Manifest:
    """KEDA's object for a Deployment of the same name; it follows the CPU whatever else triggers it."""
    cpu = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": str(_CPU_PERCENT)}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": BASELINE,
            "maxReplicaCount": MAXIMUM,
            "triggers": [cpu, *triggers],
        },
    }


def _deployment(name: str) -> Manifest:
    container = {
        "name": "main",
        "image": "slow-start:1",
        "imagePullPolicy": "Never",
        "args": [f"{START_S}s"],
        "readinessProbe": {"httpGet": {"path": "/", "port": _PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": BASELINE,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


CONTESTANTS = (
    Contestant("operator", _on_an_hpa),
    Contestant("operator-scaledobject", _on_a_scaled_object),
    Contestant("keda-cron", _cron),
    Contestant("keda-cron-early", _early_cron),
)
