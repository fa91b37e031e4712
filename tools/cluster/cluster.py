"""A real Kubernetes on this machine, as one object.

`Cluster()` is a control plane alone (any user, seconds): enough for everything that speaks to the API.
`Cluster(nodes=1)` and `Cluster(nodes=3)` add machines made of a network namespace, a containerd, a kubelet and a
kube-proxy each (root): there pods run, autoscalers scale and nodes fail.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from . import addons, packages, remains
from .control_plane import ControlPlane
from .images import import_into_all
from .kubectl import Kubectl
from .network import HOST, lay_wires
from .node import Node
from .pki import Authority
from .run import Process, Run, dead_runs, one_at_a_time, open_any_run, open_run

NODES_RUN = "nodes"  # node levels use addresses and links of the machine, so there is one at a time


class Cluster:
    """A Kubernetes cluster that is ours to break. Use it as a context manager, or call `start` and `stop`."""

    def __init__(self, *, nodes: int = 0, controllers: bool = True, wait_s: float = 0.0) -> None:
        """`wait_s`: how long a node level waits for another run that has the machine's addresses."""
        self._nodes_wanted = nodes
        self._controllers = controllers or nodes > 0
        self._wait_s = wait_s
        self._run: Run | None = None
        self._control_plane: ControlPlane | None = None
        self.nodes: list[Node] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything and returns when the API answers and every node is Ready."""
        if self._nodes_wanted:
            packages.ensure(packages.FOR_NODES)
        with one_at_a_time():
            for folder in dead_runs():
                remains.remove(folder)
        self._run = open_run(NODES_RUN, wait_s=self._wait_s) if self._nodes_wanted else open_any_run("control-plane")
        try:
            if self._nodes_wanted:
                self._start_with_nodes(self._run)
            else:
                self._control_plane = ControlPlane(self._run)
                self._control_plane.start(controllers=self._controllers, scheduler=False)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every process and takes every trace off the machine."""
        if self._run is None:
            return
        remains.remove(self._run.folder)
        self._run.close()
        self._run = self._control_plane = None
        self.nodes = []

    def keep(self) -> None:
        """Leaves the cluster to a person, who ends it with `make cluster-down`."""
        self._live_run.keep()

    @property
    def kubeconfig(self) -> Path:
        """For any client: kubectl, Helm, kopf, a library."""
        return self._parts.kubeconfig

    @property
    def folder(self) -> Path:
        """Where the run keeps everything, its logs among it."""
        return self._live_run.folder

    @property
    def server(self) -> str:
        return self._parts.server

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.kubeconfig)

    @property
    def apiserver(self) -> Process:
        """The API server's process, to freeze and thaw."""
        process = self._parts.apiserver
        assert process is not None, "the API server is stopped"
        return process

    def stop_apiserver(self) -> None:
        """The API goes away, as in a crash; what runs on nodes goes on."""
        self._parts.stop_apiserver()

    def start_apiserver(self) -> None:
        """The API comes back on the same address with the same objects."""
        self._parts.start_apiserver()

    def restart_apiserver(self) -> None:
        self.stop_apiserver()
        self.start_apiserver()

    def start_program(self, name: str, command: Sequence[str | Path], *, env: dict[str, str] | None = None) -> Process:
        """A program of the host that ends with the cluster at the latest; its output is in `folder`/logs/NAME.log."""
        return self._live_run.start(name, command, env=env)

    @property
    def authority(self) -> Authority:
        """Issues certificates and kubeconfigs that this cluster trusts."""
        return self._parts.authority

    @property
    def address(self) -> str:
        """Where programs of the host listen, so that the API server and pods reach them."""
        return self._parts.address

    def load_image(self, archive: Path) -> None:
        """Puts an image archive (`docker save`, `buildah push docker-archive:`) into every node."""
        import_into_all(self._live_run.folder, archive)

    def _start_with_nodes(self, run: Run) -> None:
        wires = lay_wires(run, self._nodes_wanted)
        self._control_plane = ControlPlane(run, HOST)
        self._control_plane.start(controllers=True, scheduler=True)
        self.nodes = [Node(run, wire, self._control_plane) for wire in wires]
        with ThreadPoolExecutor() as several:
            list(several.map(Node.start, self.nodes))
        addons.start(run, self._control_plane)
        for node in self.nodes:
            node.wait_ready()
            node.enforce_policies()

    @property
    def _live_run(self) -> Run:
        assert self._run is not None, "the cluster isn't started"
        return self._run

    @property
    def _parts(self) -> ControlPlane:
        assert self._control_plane is not None, "the cluster isn't started"
        return self._control_plane
