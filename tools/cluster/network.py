"""The network of the nodes: a bridge that is the wire, and a network namespace per node.

The host has 10.0.2.1 on the bridge and runs the control plane there; node i is 10.0.2.(10+i) and owns the pods of
10.244.i.0/24. Pods are routed, not bridged, so that a Service's answer always passes the node's translation. The host
reaches pods directly and Services through one of the nodes that have their cable.

kube-router on each node enforces NetworkPolicies, and does nothing else here. It judges a packet after kube-proxy has put
a pod's address in place of the Service's. A new pod is open until it has heard of it: a test waits until a policy holds.
"""

import subprocess
from pathlib import Path

from .control_plane import SERVICES
from .run import Run

HOST = "10.0.2.1"
_BRIDGE = "energy-br0"
_LINK = "energy-v"
_UP = 0x1
_NODE_SETTINGS = (
    "net.ipv4.ip_forward=1",
    # A dead pod must not spoil the ports of those who called it for the usual two minutes.
    "net.netfilter.nf_conntrack_tcp_timeout_syn_sent=3",
)
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def node_address(number: int) -> str:
    return f"10.0.2.{10 + number}"


def pod_subnet(number: int) -> str:
    return f"10.244.{number}.0/24"


class Wire:
    """One node's end of the network; cut it and the node is alone."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.namespace = f"energy-n{number}"
        self._link = f"{_LINK}{number}"

    @property
    def inside(self) -> list[str]:
        """Runs a program in the node's network. Not `ip netns exec`: that hides the cgroups behind a fresh /sys."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--"]

    def lay(self, run: Run, nodes: int) -> None:
        run.record("netns", self.namespace)
        _ip("netns", "add", self.namespace)
        run.record("link", self._link)
        _ip("link", "add", self._link, "master", _BRIDGE, "type", "veth", "peer", "eth0", "netns", self.namespace)
        _ip("link", "set", self._link, "up")
        _ip("-netns", self.namespace, "link", "set", "lo", "up")
        _ip("-netns", self.namespace, "address", "add", f"{node_address(self.number)}/24", "dev", "eth0")
        _ip("-netns", self.namespace, "link", "set", "eth0", "up")
        _ip("-netns", self.namespace, "route", "add", "default", "via", HOST)
        for other in range(1, nodes + 1):
            if other != self.number:
                _ip("-netns", self.namespace, "route", "add", pod_subnet(other), "via", node_address(other))
        subprocess.run([*self.inside, "sysctl", "-qw", *_NODE_SETTINGS], check=True)
        _ip("route", "add", pod_subnet(self.number), "via", node_address(self.number))

    def cut(self) -> None:
        _ip("link", "set", self._link, "down")
        _lead_to_services()

    def plug_in(self) -> None:
        _ip("link", "set", self._link, "up")
        _lead_to_services()


def lay_wires(run: Run, nodes: int) -> list[Wire]:
    """Makes the bridge and everybody's end of it."""
    run.record("sysctl", str(_FORWARDING), before=_FORWARDING.read_text().strip())
    _FORWARDING.write_text("1")
    run.record("link", _BRIDGE)
    _ip("link", "add", _BRIDGE, "type", "bridge")
    _ip("address", "add", f"{HOST}/24", "dev", _BRIDGE)
    _ip("link", "set", _BRIDGE, "up")
    wires = [Wire(number) for number in range(1, nodes + 1)]
    for wire in wires:
        wire.lay(run, nodes)
    _lead_to_services()
    return wires


def _lead_to_services() -> None:
    """The host's way to Services: through a node with its cable in, and the same one as before where possible."""
    connected = sorted(number for number, link in _links().items() if int((link / "flags").read_text(), 16) & _UP)
    via = [f"via {node_address(number)} " for number in connected]
    if via and not any(way in _ip("route", "show", SERVICES) for way in via):
        _ip("route", "replace", SERVICES, "via", node_address(connected[0]))


def _links() -> dict[int, Path]:
    return {int(link.name.removeprefix(_LINK)): link for link in Path("/sys/class/net").glob(f"{_LINK}*")}


def _ip(*words: str) -> str:
    answer = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"ip {' '.join(words)}: {answer.stderr.strip()}")
    return answer.stdout
