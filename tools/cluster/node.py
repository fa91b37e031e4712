"""A node: containerd, kubelet, kube-proxy and kube-router of its own in a network namespace, and its faults."""

import json

from . import cgroups
from .binaries import program
from .control_plane import PODS, SERVICES, ControlPlane
from .images import import_into, pause_archive
from .kubectl import Kubectl, Manifest
from .machine import Machine
from .network import Wire, node_address, pod_subnet
from .packages import CNI_PLUGINS
from .pki import MASTERS
from .run import Run

DNS_SERVICE = "10.96.0.10"
READY_TIMEOUT_S = 90.0
PAUSE = "docker.io/library/pause:1"


class Node:
    """One machine of the cluster, which tests may cut off, kill and drain."""

    def __init__(self, run: Run, wire: Wire, control_plane: ControlPlane) -> None:
        self._machine = Machine(run, wire.number)
        self.name = self._machine.name
        self.address = node_address(wire.number)
        self._number = wire.number
        self._run = run
        self._control_plane = control_plane
        self._kubectl = Kubectl(control_plane.kubeconfig)
        self._folder = self._machine.folder

    def start(self) -> None:
        """Switches the node on; it registers itself."""
        self._folder.mkdir(exist_ok=True)
        self._run.record("cgroup", self._machine.cgroup)
        cgroups.make(self._machine.cgroup)
        self._start_containerd()
        self._machine.start("kubelet", [program("kubelet"), *self._kubelet_flags()])
        self._machine.start("kube-proxy", [program("kube-proxy"), *self._kube_proxy_flags()])

    def wait_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        self._kubectl.wait_for("node", self.name, is_ready, "is Ready", timeout_s=timeout_s)

    def enforce_policies(self) -> None:
        """From now on NetworkPolicies hold on this node; it has to be registered."""
        self._machine.start("kube-router", [program("kube-router"), *self._kube_router_flags()])

    def wait_not_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        self._kubectl.wait_for("node", self.name, lambda node: not is_ready(node), "is not Ready", timeout_s=timeout_s)

    def cut(self) -> None:
        """The network cable is pulled: the node runs on and nobody hears of it."""
        self._machine.cut()

    def heal(self) -> None:
        """The cable is back; or the node is, after `kill`."""
        self._machine.heal()

    def kill(self) -> None:
        """The power is gone: every process of the node and of its pods ends at once, and nothing answers any more."""
        self._machine.kill()

    def drain(self, *, timeout_s: float = 60.0) -> None:
        """Evicts the pods, as before maintenance; budgets are respected, and it is refused if they can't be."""
        drain(self._kubectl, self.name, timeout_s=timeout_s)

    def uncordon(self) -> None:
        self._kubectl("uncordon", self.name)

    def run_inside(self, *words: str) -> list[str]:
        """The command line that runs a program in the node's network."""
        return [*self._machine.wire.inside, *words]

    def _start_containerd(self) -> None:
        settings = self._folder / "containerd.toml"
        settings.write_text(self._containerd_settings())
        (self._folder / "cni").mkdir(exist_ok=True)
        (self._folder / "cni" / "10-pods.conflist").write_text(json.dumps(self._pod_network()))
        self._machine.start("containerd", ["containerd", f"--config={settings}"])
        import_into(self._machine.socket, pause_archive())

    def _containerd_settings(self) -> str:
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        return f"""
version = 2
root = "{self._folder}/containerd"
state = "{self._folder}/state"
[grpc]
address = "{self._folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{self._folder}/opt"
[{cri}]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true        # in a sandbox the kernel refuses to make a process harder to kill
netns_mounts_under_state_dir = true  # so that a dead run's mounts are all below its folder
[{cri}.cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{self._folder}/cni"
[{cri}.containerd]
default_runtime_name = "runc"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
"""

    def _pod_network(self) -> Manifest:
        addresses = {
            "type": "host-local",
            "dataDir": f"{self._folder}/addresses",
            "ranges": [[{"subnet": pod_subnet(self._number)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        return {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {"type": "ptp", "ipMasq": False, "ipam": addresses},
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }

    def _kubelet_flags(self) -> list[str]:
        settings = self._folder / "kubelet.json"
        settings.write_text(json.dumps(self._kubelet_settings()))
        kubeconfig = self._control_plane.authority.kubeconfig(
            f"{self.name}-kubelet", self._control_plane.server, f"system:node:{self.name}", "system:nodes"
        )
        return [
            f"--config={settings}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            f"--node-labels=topology.kubernetes.io/zone=zone-{self._number}",
            f"--root-dir={self._folder}/kubelet",
            f"--cert-dir={self._folder}/kubelet-pki",
        ]

    def _kubelet_settings(self) -> Manifest:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self._control_plane.authority.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._machine.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{self._folder}/containerd.sock",
            "clusterDNS": [DNS_SERVICE],
            "clusterDomain": "cluster.local",
            "podLogsDir": f"{self._folder}/pod-logs",
            "volumePluginDir": f"{self._folder}/volume-plugins",
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,  # images come from tests, there is nowhere to pull one again
            "makeIPTablesUtilChains": False,
            "oomScoreAdj": 0,
            "nodeLeaseDurationSeconds": 10,  # a node that is gone is noticed in seconds, not in a minute
            "nodeStatusUpdateFrequency": "3s",
        }

    def _kube_proxy_flags(self) -> list[str]:
        kubeconfig = self._control_plane.authority.kubeconfig(
            f"{self.name}-kube-proxy", self._control_plane.server, "system:kube-proxy"
        )
        return [
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={self.name}",
            "--proxy-mode=nftables",
            f"--cluster-cidr={PODS}",
            "--oom-score-adj=0",
            "--conntrack-max-per-core=0",  # the limits are the machine's, not this test's to set
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ]

    def _kube_router_flags(self) -> list[str]:
        authority, server = self._control_plane.authority, self._control_plane.server
        return [
            # A helper of the host, as DNS is: what it may do is not what is tested.
            f"--kubeconfig={authority.kubeconfig(f'{self.name}-kube-router', server, 'kube-router', MASTERS)}",
            f"--hostname-override={self.name}",
            f"--service-cluster-ip-range={SERVICES}",
            "--run-firewall",  # and nothing else of what it can do: routes and Services are there already
            "--run-router=false",
            "--run-service-proxy=false",
            "--health-port=0",
        ]


def drain(kubectl: Kubectl, node: str, *, timeout_s: float) -> None:
    kubectl(
        "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={timeout_s:.0f}s",
        timeout_s=timeout_s + 10,
    )  # fmt: skip


def is_ready(node: Manifest) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
