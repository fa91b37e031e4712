"""Three rounds in real time: a window opens in minutes, and each way of scaling is watched until it is over.

In the second round all scalers are killed while they prepare and come back at once, in the third they stay away until
after the window's start. Nothing here is simulated: pods really start, and the clock is the machine's.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.cluster import Cluster
from tools.cluster.binaries import program, report
from tools.cluster.images import program_archive
from tools.cluster.run import Process
from tools.keda.contestants import BASELINE, CONTESTANTS, LEAD, WANTED
from tools.keda.install import Keda
from tools.keda.timeline import Pod, Sight, Step, all_ready_s, ready_at, replica_seconds, steps

WINDOW = timedelta(minutes=2)
QUIET = timedelta(seconds=15)  # watched before anybody prepares
AFTER = timedelta(seconds=75)  # and after the window, until the pods are gone again
SETTLE = timedelta(seconds=20)  # for the objects to be taken up before the quiet begins
_PRESCALER = (sys.executable, "-m", "prescaler")
_PRESCALER_NAMESPACE = "prescaler"


@dataclass(frozen=True, slots=True)
class Round:
    """What happens to the scalers: gone from one moment to another, in seconds from the window's start."""

    name: str
    gone_s: float | None = None
    back_s: float | None = None


ROUNDS = (Round("undisturbed"), Round("restarted", -50, -40), Round("away", -50, 30))


class Scalers:
    """KEDA and the operator, killed and started together."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._keda = Keda(cluster)
        self._operator: Process | None = None

    def install(self) -> None:
        kubectl = self._cluster.kubectl
        self._keda.install()
        definition = subprocess.run([*_PRESCALER, "crd"], capture_output=True, text=True, check=True).stdout
        kubectl("apply", "--server-side", "-f", "-", given=definition)
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _PRESCALER_NAMESPACE}})
        kubectl("wait", "--for=condition=Established", "crd/billingwindows.prescaler.energy-readings.dev")

    def start(self) -> None:
        self._keda.start()
        command = [*_PRESCALER, "run", "--lease-namespace", _PRESCALER_NAMESPACE]
        settings = {"KUBECONFIG": str(self._cluster.kubeconfig)}
        self._operator = self._cluster.start_program("prescaler", command, env=os.environ | settings)

    def wait_ready(self) -> None:
        self._keda.wait_ready()

    def kill(self) -> None:
        self._keda.kill()
        if self._operator is not None:
            self._operator.kill()


def run(rounds: tuple[Round, ...]) -> list[dict[str, Any]]:
    """Plays the rounds one after the other on a cluster of its own."""
    if not rounds:
        return []
    with Cluster(nodes=1, wait_s=600) as cluster:
        cluster.load_image(program_archive("slow-start"))
        scalers = Scalers(cluster)
        scalers.install()
        scalers.start()
        scalers.wait_ready()
        return [_play(cluster, scalers, each) for each in rounds]


def _play(cluster: Cluster, scalers: Scalers, each: Round) -> dict[str, Any]:
    namespace = f"race-{each.name}"
    opens = _next_minute(datetime.now(UTC) + SETTLE + QUIET + LEAD)
    report(f"round {each.name}: the window opens at {opens:%H:%M} UTC")
    cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    manifests = [m for c in CONTESTANTS for m in c.manifests(namespace, opens, opens + WINDOW)]
    cluster.kubectl.apply(*manifests)
    with _watched(cluster, namespace, opens) as sights:
        cluster.kubectl.rollout(*(f"deployment/{c.name}" for c in CONTESTANTS), namespace=namespace)
        if each.gone_s is not None and each.back_s is not None:
            _until(opens + timedelta(seconds=each.gone_s))
            scalers.kill()
            _until(opens + timedelta(seconds=each.back_s))
            scalers.start()
        _until(opens + WINDOW + AFTER)
        seen = {c.name: list(sights[c.name]) for c in CONTESTANTS}
    scalers.wait_ready()
    cluster.kubectl("delete", "namespace", namespace, "--timeout=60s")
    return {
        "name": each.name,
        "load_average": round(os.getloadavg()[0], 1),
        "gone_s": each.gone_s,
        "back_s": each.back_s,
        "contestants": [{"name": name, **_result(name, steps(found))} for name, found in seen.items()],
    }


def _result(name: str, found: list[Step]) -> dict[str, Any]:
    if not found:
        raise RuntimeError(f"the API server told of no pod of {name}")
    since_s, until_s = -(LEAD + QUIET).total_seconds(), (WINDOW + AFTER).total_seconds()
    ready_s = all_ready_s(found, WANTED)
    spent = replica_seconds(found, since_s, until_s)
    return {
        "ready_at_start": ready_at(found, 0),
        "all_ready_s": ready_s,
        "replica_seconds": round(spent),
        "above_baseline": round(spent - BASELINE * (until_s - since_s)),
        "steps": [[step.at_s, step.pods, step.ready] for step in found],
    }


@contextmanager
def _watched(cluster: Cluster, namespace: str, opens: datetime) -> Iterator[dict[str, list[Sight]]]:
    """What the API server tells of the pods, as it tells it."""
    shown = [".type", ".object.metadata.name", ".object.metadata.labels.app", ".object.metadata.deletionTimestamp"]
    ready = '.object.status.conditions[?(@.type=="Ready")].status'
    line = '{"|"}'.join(f"{{{field}}}" for field in (*shown, ready)) + '{"\\n"}'
    command = [str(program("kubectl")), f"--kubeconfig={cluster.kubeconfig}", "get", "pods", "-n", namespace, "--watch"]
    sights: dict[str, list[Sight]] = {contestant.name: [] for contestant in CONTESTANTS}
    with subprocess.Popen(
        [*command, "--output-watch-events", "-o", f"jsonpath={line}"], stdout=subprocess.PIPE, text=True
    ) as kubectl:
        reader = threading.Thread(target=_read, args=(kubectl, opens, sights))
        reader.start()
        try:
            yield sights
        finally:
            kubectl.terminate()
            reader.join()


def _read(kubectl: subprocess.Popen[str], opens: datetime, sights: dict[str, list[Sight]]) -> None:
    assert kubectl.stdout is not None
    for line in kubectl.stdout:
        at_s = round(time.time() - opens.timestamp(), 1)
        kind, name, app, leaving, ready = line.rstrip("\n").split("|")
        state = Pod.GONE if kind == "DELETED" else Pod.READY if ready == "True" and not leaving else Pod.STARTING
        sights[app].append(Sight(at_s, name, state))


def _next_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))
