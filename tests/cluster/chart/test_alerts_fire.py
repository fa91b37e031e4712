"""The chart's alerts in a real Prometheus that scrapes the pods of a real cluster as the PodMonitors say, while things fail.

`make test-alerts` leaves the figures in build/alerts.json. Time runs twenty times faster for the rules; pods, probes and restarts take
the time they take. Each fault is ended by the step that its runbook names.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cluster.chart import meters
from cluster.chart.figures import note
from cluster.chart.release import EXTERNAL, Release, new_database
from cluster.chart.test_cockroachdb_wiring import cockroachdb
from cluster.database import Database
from support.prometheus import Prometheus, accelerated, prometheus
from tools.cluster import Cluster
from tools.local.waiting import until
from tools.standin.image import archive

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]
SPEED = 20
FOUND_S = 15  # a pod is ended, its endpoint goes, Prometheus looks for targets every five seconds
QUIET_S = 10
RUN = ("alerts", f"Alerts on a cluster, the rules' time {SPEED} times faster")
WITH_RULES = ("--set=monitoring.rules.enabled=true", "--set=monitoring.podMonitor.enabled=true")
PROMISED_MIN = {  # in production's time: the range of the expression and its `for`
    "EnergyDown": 2,
    "EnergyDatabaseAway": 1,
    "EnergyFailing": 7,
    "PrescalerStalled": 2,
    "EnergyShedding": 10,
    "CockroachCertificateExpires": 0,
}
CLOSED = (datetime.now(UTC) + timedelta(days=10)).day % 28 + 1  # no window opens while this runs
VALUES: dict[str, Any] = {
    "app": {"settings": {"drain_delay_s": 3, "rate_per_s": 4, "rate_burst": 8, "request_timeout_s": 2}},
    "autoscaling": {"minReplicas": 1, "maxReplicas": 2},
    "operator": {"billingWindow": {"spec": {"windows": [{"name": "far", "fromDay": CLOSED, "toDay": CLOSED, "minReplicas": 2}]}}},
}  # fmt: skip


def scrapes(manifests: list[dict[str, Any]], cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """What the Prometheus operator makes of PodMonitors."""
    found = []
    for monitor in (manifest for manifest in manifests if manifest["kind"] == "PodMonitor"):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        keep = [
            {"action": "keep", "source_labels": [f"__meta_kubernetes_pod_label_{meta(key)}"], "regex": value}
            for key, value in labels
        ]
        keep.append(
            {
                "action": "keep",
                "source_labels": ["__meta_kubernetes_pod_container_port_name"],
                "regex": endpoint["port"],
            }
        )
        names = [
            {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target}
            for source, target in (("namespace", "namespace"), ("pod_name", "pod"))
        ]
        job = [
            {"target_label": word["targetLabel"], "replacement": word["replacement"]}
            for word in endpoint["relabelings"]
        ]
        pods = {"role": "pod", "kubeconfig_file": str(cluster.kubeconfig), "namespaces": {"names": [namespace]}}
        scrape = {
            "job_name": monitor["metadata"]["name"], "metrics_path": endpoint["path"], "kubernetes_sd_configs": [pods],
            "relabel_configs": [*keep, *names, *job],
        }  # fmt: skip
        if tls := endpoint.get("tlsConfig"):
            secret = cluster.kubectl.get("secret", tls["ca"]["secret"]["name"], namespace=namespace)["data"]
            authority = base64.b64decode(secret[tls["ca"]["secret"]["key"]]).decode()
            scrape |= {"scheme": "https", "tls_config": {"server_name": tls["serverName"], "ca": authority}}
        found.append(scrape)
    return found


def meta(label: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in label)


@contextmanager
def readings(release: Release, folder: Path, rate: float, seconds: int = 600) -> Iterator[None]:
    """Meters that send until the block ends."""
    address = f"http://{release.get('service', 'energy')['spec']['clusterIP']}"
    words = [sys.executable, meters.__file__, address, str(rate), str(seconds), str(folder / "ledger.log")]
    settings = {"LOAD_RUN": os.urandom(4).hex(), "LOAD_API_KEY": release.key()}
    with subprocess.Popen(words, env=os.environ | settings, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


class Watched:
    """A release under a Prometheus; each fault is caused, seen, ended, and written down."""

    def __init__(self, running: Prometheus) -> None:
        self.running = running

    def sees(
        self,
        fault: str,
        cause: Callable[[], object],
        alerts: set[str],
        end: Callable[[], object],
        step: str,
        found_s: float = FOUND_S,
    ) -> None:
        self.running.settles(QUIET_S, timeout_s=120)
        cause()
        promised_s = max(PROMISED_MIN[alert] for alert in alerts) * 60 / SPEED
        told_s = self.running.wait_for(alerts, timeout_s=promised_s + found_s)
        end()
        over_s = self.running.wait_for(set(), timeout_s=240)
        row = {
            "alerts": ", ".join(sorted(alerts)),
            "seconds": round(told_s, 1),
            "promised_s": round(promised_s, 1),
            "over_s": round(over_s, 1),
        }
        note(*RUN, fault, row | {"step": step})


def test_the_right_alert_and_no_other_fires_in_time_on_a_cluster(
    one_node: Cluster, one_node_namespace: str, pod_database: Database, tmp_path: Path
) -> None:
    new_database(one_node, one_node_namespace, pod_database.url)
    release = Release(one_node, one_node_namespace, tmp_path, EXTERNAL, VALUES)
    release.install()
    manifests = [found for found in yaml.safe_load_all(release.template(*WITH_RULES)) if found]
    (rule,) = (manifest for manifest in manifests if manifest["kind"] == "PrometheusRule")
    groups = accelerated(rule["spec"]["groups"], SPEED)

    def scale(what: str, pods: int) -> None:
        one_node.kubectl("scale", f"deployment/{what}", f"--replicas={pods}", "-n", one_node_namespace)
        if pods:
            one_node.kubectl.rollout(f"deployment/{what}", namespace=one_node_namespace)

    with (
        prometheus(tmp_path, groups, scrapes(manifests, one_node, one_node_namespace), "500ms", 2) as running,
        readings(release, tmp_path, rate=2),
    ):
        watched = Watched(running)
        watched.sees(
            "operator gone", lambda: scale("energy-operator", 0), {"PrescalerStalled"},
            lambda: scale("energy-operator", 1), "PrescalerStalled: the operator's pod is brought back",
        )  # fmt: skip
        with too_much(release, tmp_path) as stop:
            watched.sees(
                "shedding", stop.clear, {"EnergyShedding"}, stop.set, "EnergyShedding: `rate` means one key; it sends less",
            )  # fmt: skip
        watched.sees(
            "database gone", pod_database.stop, {"EnergyDatabaseAway", "EnergyFailing"},
            pod_database.start, "EnergyDatabaseAway: the database is brought back; pods connect by themselves",
        )  # fmt: skip
        watched.sees(
            "service gone", lambda: scale("energy", 0), {"EnergyDown"},
            lambda: scale("energy", 1), "EnergyDown: pods are brought back",
        )  # fmt: skip
    release.helm("uninstall", "energy")


@contextmanager
def too_much(release: Release, folder: Path) -> Iterator[threading.Event]:
    """One key sends three times what it may while the event is clear."""
    stopped, over = threading.Event(), threading.Event()
    stopped.set()

    def send() -> None:
        while not over.wait(0.1):
            if not stopped.is_set():
                (folder / "more").mkdir(exist_ok=True)
                with readings(release, folder / "more", rate=12, seconds=300):
                    until(lambda: stopped.is_set() or over.is_set(), "enough", timeout_s=300)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield stopped
    finally:
        over.set()
        sender.join()


def test_a_certificate_near_its_end_is_told_and_its_runbook_ends_it(
    one_node: Cluster, one_node_namespace: str, pod_database: Database, tmp_path: Path
) -> None:
    """With the stand-in for CockroachDB, which tells when the certificate that it has loaded ends."""
    one_node.load_image(archive())
    kubectl, here = one_node.kubectl, ("-n", one_node_namespace)
    release = Release(one_node, one_node_namespace, tmp_path, cockroachdb(pod_database, "standard"))
    release.install()
    manifests = [found for found in yaml.safe_load_all(release.template(*WITH_RULES)) if found]
    (rule,) = (manifest for manifest in manifests if manifest["kind"] == "PrometheusRule")

    def near_its_end() -> None:
        kubectl(
            "patch", "secret", "energy-cockroachdb-node", *here, f"--patch={json.dumps({'data': short_lived(release)})}"
        )
        kubectl("rollout", "restart", "statefulset/energy-cockroachdb", *here)

    def renew() -> None:
        kubectl.rollout("statefulset/energy-cockroachdb", namespace=one_node_namespace, timeout_s=150)
        kubectl("create", "job", "--from=cronjob/energy-cockroachdb-renew", "renew-now", *here)

    groups = rule["spec"]["groups"]
    with prometheus(tmp_path, groups, scrapes(manifests, one_node, one_node_namespace), "500ms", 4) as running:
        Watched(running).sees(
            "certificate near its end", near_its_end, {"CockroachCertificateExpires"}, renew,
            "CockroachCertificateExpires: `kubectl create job --from=cronjob/energy-cockroachdb-renew renew-now`",
            found_s=120,  # until the first node has started with it
        )  # fmt: skip
    release.helm("uninstall", "energy")


def short_lived(release: Release) -> dict[str, str]:
    """The node's certificate once more, by the same authority, for twenty days."""
    authority, node = (release.get("secret", f"energy-cockroachdb-{party}")["data"] for party in ("ca", "node"))
    key = serialization.load_pem_private_key(base64.b64decode(authority["ca.key"]), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    old = x509.load_pem_x509_certificate(base64.b64decode(node["tls.crt"]))
    own = serialization.load_pem_private_key(base64.b64decode(node["tls.key"]), None)
    assert isinstance(own, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.issuer).public_key(own.public_key())
    made = (
        made.serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=20))
    )
    for extension in old.extensions:
        made = made.add_extension(extension.value, extension.critical)
    signed = made.sign(key, hashes.SHA256())
    return {"tls.crt": base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()}
