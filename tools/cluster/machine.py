"""What can happen to a node as a machine: its cable is pulled, its power is gone, and both come back.

Works from the run's record alone, so a test and a person (`make cluster-cut NODE=2`) have the same faults, and a person
has them in another process than the one that started the cluster.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.local.waiting import until

from . import remains
from .network import Wire
from .run import Process, Run

_IN_ORDER = ("containerd", "kubelet", "kube-proxy", "kube-router")


class Machine:
    """One node's processes and its cable."""

    def __init__(self, run: Run, number: int) -> None:
        self.name = f"node-{number}"
        self.wire = Wire(number)
        self.folder = run.folder / self.name
        self.cgroup = f"energy-{self.name}"
        self.socket = self.folder / "containerd.sock"
        self._run = run

    def start(self, kind: str, command: Sequence[str | Path]) -> Process:
        """Starts one of the node's programs in its network."""
        return self._start(kind, [*self.wire.inside, *command])

    def cut(self) -> None:
        """The network cable is pulled: the node runs on and nobody hears of it."""
        self.wire.cut()

    def kill(self) -> None:
        """The power is gone: every process of the node and of its pods ends at once, and nothing answers any more."""
        self.wire.cut()
        remains.end_programs(self._programs())
        remains.end_containers(self.folder, self.cgroup)

    def heal(self) -> None:
        """The cable is back; or the node is, after `kill`, with the command lines that it was started with."""
        self.wire.plug_in()
        programs = self._programs()
        if remains.running(programs):
            return
        latest = {entry["value"]: entry["argv"] for entry in programs}
        for kind in _IN_ORDER:
            self._start(kind, latest[f"{self.name}-{kind}"])

    def _start(self, kind: str, command: Sequence[str | Path]) -> Process:
        if kind != "containerd":
            return self._run.start(f"{self.name}-{kind}", command)
        self.socket.unlink(missing_ok=True)  # left by a killed containerd: it would look as if the new one listened
        containerd = self._run.start(f"{self.name}-{kind}", command)
        until(lambda: self.socket.exists() or not containerd.alive(), "containerd listens")
        if not containerd.alive():
            raise RuntimeError(f"containerd of {self.name} ended:\n{containerd.last_words()}")
        return containerd

    def _programs(self) -> list[dict[str, Any]]:
        names = {f"{self.name}-{kind}" for kind in _IN_ORDER}
        return [e for e in remains.read_record(self._run.folder) if e["kind"] == "process" and e["value"] in names]
