"""`make kind-offline`: prepares what can't be pulled, then runs the README's targets for kind in namespaces of their own."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from energy.store.embedded import EmbeddedPostgres
from tools.cluster import builder, packages, remains
from tools.cluster.binaries import program, report
from tools.cluster.run import dead_runs, one_at_a_time, open_run
from tools.kind import docker, node_image

RUN = "kind"
APART = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
PROGRAMS = ("kind", "kubeadm", "kubelet", "kubectl", "helm-v4", "kube-router", "metrics-server", "coredns", "etcd")
ROOT = builder.ROOT
PORT = 5432
KUBECTL_TIMEOUT_S = 30.0  # the cluster that failed may not answer; it goes with us
LOAD = {"LOAD_RATE": "50", "LOAD_DURATION_S": "20", "LOAD_P99_MS": "5000", "LOAD_VUS_MAX": "100"}


def prepare() -> None:
    """Everything that needs the network, before we go where there is none."""
    packages.ensure(packages.FOR_NODES | packages.FOR_IMAGES | packages.FOR_DISKS)
    for name in PROGRAMS:
        program(name)
    docker.unpacked()
    node_image.tree()
    node_image.tools_tree()
    builder.build_all()


def apart(targets: list[str]) -> int:
    """Runs the rest of this program in namespaces of its own, and removes what outlives them."""
    with one_at_a_time():
        for dead in dead_runs():
            remains.remove(dead)
    run = open_run(RUN)
    run.record("cgroup", docker.CGROUP)
    try:
        environment = os.environ | {"IMAGE_BUILDER": "buildah"}
        inside = [*APART, sys.executable, "-m", "tools.kind", "--inside", str(run.folder), *targets]
        return subprocess.run(inside, cwd=ROOT, env=environment, check=False).returncode
    finally:
        remains.remove(run.folder)
        run.close()


def inside(folder: Path, targets: list[str]) -> None:
    """A daemon, a node image, and `make` as a tester calls it, one target after another, with what each took."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")  # dockerd would close the machine's FORWARD chain with it
    docker.start(folder)
    database = _database(folder / "postgres")
    os.environ.update(docker.environment(folder))
    step("node image", node_image.build)
    manifest = folder / "metrics-server.yaml"
    manifest.write_text(node_image.metrics_server())
    tools = os.pathsep.join(str(program(name).parent) for name in ("kind", "kubectl"))
    os.environ.update(KUBECONFIG=str(folder / "kubeconfig"), PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    settings = ["CLUSTER=kind", f"KIND_NODE={node_image.NAME}", f"METRICS_SERVER={manifest}"]
    for target in targets:
        step(target, partial(make, target, *settings))
        if target == "kind-up":
            url = f"postgresql://postgres@{gateway()}:{PORT}/postgres"
            os.environ.update(LOAD, ENERGY_DATABASE_URL=url, LOAD_DATABASE_URL=url)
    database.stop()


def _database(folder: Path) -> EmbeddedPostgres:
    """Outside the cluster, on every address of a network that nobody else is in."""
    server = EmbeddedPostgres(folder, ("-c listen_addresses=*", f"-c port={PORT}"))
    with (folder / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all trust\n")
    server.start()
    return server


def gateway() -> str:
    """This machine's address in kind's network, which is where pods find the database."""
    found = node_image.run(
        "docker", "network", "inspect", "kind", "--format={{range .IPAM.Config}}{{.Gateway}} {{end}}"
    )
    return next(address for address in found.split() if ":" not in address)


def make(target: str, *settings: str) -> None:
    if subprocess.run(["make", "--no-print-directory", *settings, target], cwd=ROOT, check=False).returncode == 0:
        return
    for asks in (["pods", "--output=wide"], ["events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"]):
        subprocess.run(["kubectl", "get", "--all-namespaces", *asks], timeout=KUBECTL_TIMEOUT_S, check=False)
    raise RuntimeError(f"make {' '.join(settings)} {target} failed; what it and the cluster said is above")


def step(name: str, does: Callable[[], object]) -> None:
    started = time.monotonic()
    does()
    report(f"{name}: {time.monotonic() - started:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(prog="kind", description=__doc__)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*")
    given = parser.parse_args()
    if given.inside:
        inside(given.inside, given.targets)
        return 0
    step("prepare", prepare)
    return apart(given.targets)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
        sys.exit(f"kind: {error}")
