"""What a cluster has besides Kubernetes itself: DNS, the metrics API and storage.

DNS and metrics-server run as programs of the host behind Services without a selector: no image has to be built, and the
cluster's own pods are only those that a test put there.
"""

from tools.local.waiting import free_port, until

from .binaries import program
from .control_plane import ControlPlane
from .kubectl import Kubectl, Manifest
from .network import HOST
from .node import DNS_SERVICE
from .pki import MASTERS
from .run import Run

VOLUMES = 30  # claimed once each: a released volume isn't given out again
READY_TIMEOUT_S = 60.0
DNS_PORT = (
    53  # of the host's address on the bridge, which is nobody else's: policies that let names be resolved name it
)


def start(run: Run, control_plane: ControlPlane) -> None:
    kubectl = Kubectl(control_plane.kubeconfig)
    _start_dns(run, control_plane, kubectl)
    _start_metrics(run, control_plane, kubectl)
    _offer_volumes(run, kubectl)


def metrics_are_served(kubectl: Kubectl) -> bool:
    service = kubectl.get("apiservice", "v1beta1.metrics.k8s.io")
    conditions = service.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Available" and condition["status"] == "True" for condition in conditions)


def _start_dns(run: Run, control_plane: ControlPlane, kubectl: Kubectl) -> None:
    # The helpers of the host are the test's own hands; what they may do is not what is tested.
    kubeconfig = control_plane.authority.kubeconfig("dns", control_plane.server, "coredns", MASTERS)
    corefile = run.folder / "Corefile"
    corefile.write_text(f"""
.:{DNS_PORT} {{
    bind {HOST}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
    cache 5
}}
""")
    run.start("coredns", [program("coredns"), f"-conf={corefile}"])
    ports = [("dns", 53, DNS_PORT, "UDP"), ("dns-tcp", 53, DNS_PORT, "TCP")]
    kubectl.apply(*service_on_host("kube-dns", ports, cluster_ip=DNS_SERVICE))


def _start_metrics(run: Run, control_plane: ControlPlane, kubectl: Kubectl) -> None:
    port = free_port(HOST)
    kubeconfig = control_plane.authority.kubeconfig("metrics", control_plane.server, "metrics-server", MASTERS)
    metrics = run.start(
        "metrics-server",
        [
            program("metrics-server"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={HOST}",
            f"--secure-port={port}",
            f"--cert-dir={run.folder / 'metrics-pki'}",
            "--kubelet-insecure-tls",
            "--kubelet-preferred-address-types=InternalIP",
            "--kubelet-request-timeout=5s",
            "--metric-resolution=10s",
        ],
    )
    kubectl.apply(
        *service_on_host("metrics-server", [("https", 443, port, "TCP")]),
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": "metrics-server", "namespace": "kube-system"},
            },
        },
    )
    until(
        lambda: metrics_are_served(kubectl) or not metrics.alive(),
        "the metrics API is served",
        timeout_s=READY_TIMEOUT_S,
    )
    if not metrics.alive():
        raise RuntimeError(f"metrics-server ended:\n{metrics.last_words()}")


def service_on_host(
    name: str,
    ports: list[tuple[str, int, int, str]],
    *,
    namespace: str = "kube-system",
    cluster_ip: str | None = None,
) -> list[Manifest]:
    """A Service whose only endpoint is a program of the host; ports are (name, port, port on the host, protocol)."""
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "clusterIP": cluster_ip,
            "ports": [{"name": n, "port": p, "targetPort": host, "protocol": proto} for n, p, host, proto in ports],
        },
    }
    slice_: Manifest = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-host",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [HOST], "conditions": {"ready": True}}],
        "ports": [{"name": n, "port": host, "protocol": proto} for n, _, host, proto in ports],
    }
    return [service, slice_]


def _offer_volumes(run: Run, kubectl: Kubectl) -> None:
    """Folders of this machine as volumes. All nodes see the same disk, so a volume follows its pod anywhere."""
    folder = run.folder / "volumes"
    volumes: list[Manifest] = []
    for number in range(VOLUMES):
        path = folder / f"{number:02}"
        path.mkdir(parents=True)
        path.chmod(0o777)  # the kubelet doesn't hand a hostPath over to the pod's group
        volumes.append(_volume(f"volume-{number:02}", str(path)))
    kubectl.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        *volumes,
    )


def _volume(name: str, path: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "standard",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": path},
        },
    }
