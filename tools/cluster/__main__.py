"""The cluster for people: `make cluster-up`, `make cluster-down` and their like end here."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from . import builder, remains
from .binaries import all_programs, program, report
from .cluster import NODES_RUN, Cluster
from .images import import_into_all
from .kubectl import Kubectl
from .machine import Machine
from .node import drain
from .run import BusyError, kept_run, resumed

DRAIN_TIMEOUT_S = 120.0


def up(nodes: int) -> None:
    if kept_run(NODES_RUN):
        report("a cluster is up already")
    else:
        started = time.monotonic()
        cluster = Cluster(nodes=nodes)
        cluster.start()
        cluster.keep()
        report(f"{nodes} node(s) Ready after {time.monotonic() - started:.0f} s")
    status()


def status() -> None:
    kubeconfig = _kept() / "pki" / "admin.kubeconfig"
    report(Kubectl(kubeconfig)("get", "nodes"))
    print(f"export KUBECONFIG={kubeconfig}")


def down() -> None:
    remains.remove(_kept())
    report("the cluster is gone")


FAULTS = ("cut", "kill", "heal", "drain")


def fault(kind: str, number: int) -> None:
    """One node of the running cluster: its cable, its power, both back, or its pods sent elsewhere (until `heal`)."""
    with resumed(NODES_RUN) as run:
        machine = Machine(run, number)
        if not machine.folder.is_dir():
            raise BusyError(f"there is no {machine.name} in this cluster")
        kubectl = Kubectl(run.folder / "pki" / "admin.kubeconfig")
        match kind:
            case "cut":
                machine.cut()
            case "kill":
                machine.kill()
            case "heal":
                machine.heal()
                kubectl("uncordon", machine.name)
            case _:
                drain(kubectl, machine.name, timeout_s=DRAIN_TIMEOUT_S)
    report(f"{machine.name}: {kind}")


def load(archives: list[Path]) -> None:
    folder = _kept()
    for archive in archives:
        import_into_all(folder, archive)


def tools() -> None:
    """Builds what is missing, the largest first, so that later commands start at once."""
    for name, module in all_programs():
        if not module.only_asked_for:
            program(name)


def tool(name: str) -> None:
    print(program(name))


def _kept() -> Path:
    folder = kept_run(NODES_RUN)
    if folder is None:
        raise BusyError("no cluster is up; start one with `make cluster-up`")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("--nodes", type=int, default=1)
    commands.add_parser("load").add_argument("archives", type=Path, nargs="+")
    commands.add_parser("tool").add_argument("name")
    for name in FAULTS:
        commands.add_parser(name).add_argument("node", type=int)
    for name in ("down", "status", "tools", "images"):
        commands.add_parser(name)
    chosen = parser.parse_args()
    match chosen.command:
        case "up":
            up(chosen.nodes)
        case "load":
            load(chosen.archives)
        case "tool":
            tool(chosen.name)
        case "images":
            builder.build_all()
        case "cut" | "kill" | "heal" | "drain":
            fault(chosen.command, chosen.node)
        case "tools":
            tools()
        case "down":
            down()
        case _:
            status()


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
        sys.exit(f"cluster: {error}")
