"""KEDA on a test cluster: its own definitions and rights, and its two programs as processes of the host.

The definitions come out of the pinned Go module that the programs are built from, so nothing of KEDA is copied here.
Its admission webhooks are left out: they judge objects as they are created and scale nothing.
"""

import os
import shutil
from pathlib import Path

from tools.cluster import Cluster, Kubectl, Manifest, RefusedError
from tools.cluster.addons import service_on_host
from tools.cluster.binaries import module_files, program
from tools.cluster.run import Process
from tools.local.waiting import free_port, until

NAMESPACE = "keda"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:keda-operator"
METRICS_API = "v1beta1.external.metrics.k8s.io"
_METRICS_SERVICE = "keda-metrics-apiserver"
_CLUSTER_WIDE = (  # as its kustomization lists them; two kinds of cloud events and jobs are watched, too
    "crd/bases",
    "general/namespace.yaml",
    "service_account/service_account.yaml",
    "rbac/role.yaml",
    "rbac/role_binding.yaml",
    "metrics-server/role.yaml",
    "metrics-server/role_binding.yaml",
)
READY_TIMEOUT_S = 60.0


class Keda:
    """KEDA in a cluster; its processes may be killed and started again."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._metrics_port = free_port(cluster.address)
        self._grpc_port = free_port(cluster.address)
        self._kubeconfig = cluster.authority.kubeconfig("keda", cluster.server, ACCOUNT, "system:serviceaccounts")
        self._certificates = _certificates(cluster)
        self._running: list[Process] = []

    def install(self, *, metrics: bool = True) -> None:
        """`metrics`: also the API that HPAs ask, which needs an address that the API server reaches."""
        kubectl = self._cluster.kubectl
        config = module_files("keda", "github.com/kedacore/keda/v2") / "config"
        for path in _CLUSTER_WIDE:
            if not metrics and path.startswith("metrics-server"):
                continue
            kubectl("apply", "--server-side", "-f", str(config / path))
        until(lambda: _served(kubectl), "the kind ScaledObject is served", timeout_s=READY_TIMEOUT_S)
        if metrics:
            ports = [("https", 443, self._metrics_port, "TCP")]
            kubectl.apply(*service_on_host(_METRICS_SERVICE, ports, namespace=NAMESPACE), _metrics_api())

    def start(self, *, metrics: bool = True) -> None:
        """Starts both programs; with `metrics` returns when the metrics API answers."""
        self._running = [self._start("keda", *self._operator_flags())]
        if metrics:
            self._running.append(self._start("keda-adapter", *self._adapter_flags()))

    def wait_ready(self) -> None:
        until(self._answers, "KEDA's metrics API answers", timeout_s=READY_TIMEOUT_S)

    def kill(self) -> None:
        """Both programs end at once, as when their node does."""
        for process in self._running:
            process.kill()
        self._running.clear()

    def last_words(self) -> str:
        return "\n".join(process.last_words() for process in self._running)

    def _start(self, name: str, *flags: str) -> Process:
        settings = {
            "KUBECONFIG": str(self._kubeconfig),
            "POD_NAMESPACE": NAMESPACE,
            "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
            "WATCH_NAMESPACE": "",
        }
        return self._cluster.start_program(name, [program(name), *flags], env=os.environ | settings)

    def _operator_flags(self) -> list[str]:
        """With the leader election that its own manifest asks for."""
        address = self._cluster.address
        return [
            "--leader-elect",
            f"--metrics-bind-address={address}:{free_port(address)}",
            f"--health-probe-bind-address={address}:{free_port(address)}",
            f"--metrics-service-bind-address={address}:{self._grpc_port}",
            f"--cert-dir={self._certificates}",
        ]

    def _adapter_flags(self) -> list[str]:
        address = self._cluster.address
        return [
            f"--bind-address={address}",
            f"--secure-port={self._metrics_port}",
            f"--port={free_port(address)}",
            f"--metrics-service-address={address}:{self._grpc_port}",
            f"--cert-dir={self._certificates}",
            f"--client-ca-file={self._certificates / 'ca.crt'}",
            f"--tls-cert-file={self._certificates / 'tls.crt'}",
            f"--tls-private-key-file={self._certificates / 'tls.key'}",
            f"--lister-kubeconfig={self._kubeconfig}",
            f"--authentication-kubeconfig={self._kubeconfig}",
            f"--authorization-kubeconfig={self._kubeconfig}",
        ]

    def _answers(self) -> bool:
        if not all(process.alive() for process in self._running):
            raise RuntimeError(f"KEDA ended:\n{self.last_words()}")
        conditions = self._cluster.kubectl.get("apiservice", METRICS_API).get("status", {}).get("conditions", [])
        return any(condition["type"] == "Available" and condition["status"] == "True" for condition in conditions)


def _certificates(cluster: Cluster) -> Path:
    """A folder with the names that both programs look for; they trust each other by the cluster's authority."""
    folder = cluster.folder / "keda-pki"
    folder.mkdir(exist_ok=True)
    pair = cluster.authority.issue("keda-serving", cluster.address, f"{_METRICS_SERVICE}.{NAMESPACE}.svc")
    for source, name in (
        (cluster.authority.certificate, "ca.crt"),
        (pair.certificate, "tls.crt"),
        (pair.key, "tls.key"),
    ):
        shutil.copy(source, folder / name)
    return folder


def _served(kubectl: Kubectl) -> bool:
    try:
        kubectl("get", "scaledobjects.keda.sh", "-A", "-o", "name")
    except RefusedError:
        return False
    return True


def _metrics_api() -> Manifest:
    group, version = "external.metrics.k8s.io", "v1beta1"
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": METRICS_API},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": _METRICS_SERVICE, "namespace": NAMESPACE},
        },
    }
