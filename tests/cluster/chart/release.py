"""One installation of the chart, as a platform team would make it, and the load that is put on it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from tools.cluster import Cluster
from tools.cluster.binaries import program
from tools.render import HelmError

CHART = Path(__file__).parents[3] / "helm" / "energy"
INSTALL_TIMEOUT_S = 120
SMALL = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "384Mi"}}
# The product at the size of a test machine; what is tested is the chart, so as little as possible is set here.
VALUES: dict[str, Any] = {
    "app": {
        "image": {"tag": "dev", "pullPolicy": "Never"},
        "settings": {"drain_delay_s": 3},
        "resources": SMALL | {"requests": {"cpu": "150m", "memory": "96Mi"}},
    },
    "operator": {
        "image": {"tag": "dev", "pullPolicy": "Never"},
        "resources": SMALL,
        "billingWindow": {"spec": {"windows": [{"name": "monthly", "fromDay": 15, "toDay": 26, "minReplicas": 2}]}},
    },
    "autoscaling": {"minReplicas": 1, "maxReplicas": 4},
    "database": {"connectionBudget": 95},
    "migrations": {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}},
}
EXTERNAL: dict[str, Any] = {
    "database": {"kind": "external", "external": {"existingSecret": "energy-database"}},
}


class Release:
    """`energy` in one namespace, by one version of Helm."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, *values: dict[str, Any], helm: int = 4) -> None:
        self.cluster, self.namespace, self._helm = cluster, namespace, program(f"helm-v{helm}")
        self._files = []
        for number, layer in enumerate((VALUES, *values)):
            file = folder / f"values-{number}.json"
            file.write_text(json.dumps(layer))
            self._files.append(f"--values={file}")

    def install(self, *words: str, chart: Path = CHART) -> str:
        return self.helm("install", "energy", str(chart), "--wait", *self._files, *words)

    def upgrade(self, *words: str, chart: Path = CHART) -> str:
        return self.helm("upgrade", "energy", str(chart), "--wait", *self._files, *words)

    def template(self, *words: str, hooks: bool = False) -> str:
        server = json.loads(self.cluster.kubectl("version", "-o", "json"))["serverVersion"]
        version = server["gitVersion"]  # a Helm built from its module knows of no Kubernetes but v1.20
        files = [f"--kube-version={version}", *([] if hooks else ["--no-hooks"]), *self._files]
        return self.helm("template", "energy", str(CHART), *files, *words, timeout=False)

    def helm(self, *words: str, timeout: bool = True) -> str:
        limit = [f"--timeout={INSTALL_TIMEOUT_S}s"] if timeout else []
        answer = subprocess.run(
            [self._helm, *words, f"--namespace={self.namespace}", *limit],
            capture_output=True, text=True, check=False,
            env=os.environ | {"KUBECONFIG": str(self.cluster.kubeconfig)},
        )  # fmt: skip
        if answer.returncode != 0:
            happened = self.cluster.kubectl.what_happened(self.namespace)
            raise HelmError(f"helm {' '.join(words)}: {answer.stderr}{answer.stdout}\n{happened}")
        return answer.stdout

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.cluster.kubectl.get(kind, name, namespace=self.namespace)

    def names(self, kind: str, selector: str = "app.kubernetes.io/instance=energy") -> set[str]:
        return {
            i["metadata"]["name"] for i in self.cluster.kubectl.items(kind, namespace=self.namespace, selector=selector)
        }

    def ready_pods(self) -> list[str]:
        pods = self.cluster.kubectl.items(
            "pods",
            namespace=self.namespace,
            selector="app.kubernetes.io/instance=energy,app.kubernetes.io/component=app",
        )
        return [
            pod["metadata"]["name"]
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        ]

    def key(self) -> str:
        words = (
            "get",
            "secret",
            "energy-bootstrap",
            "-n",
            self.namespace,
            "-o",
            'go-template={{index .data "admin-key" | base64decode}}',
        )
        return self.cluster.kubectl(*words)


def new_database(cluster: Cluster, namespace: str, server_url: str) -> str:
    """A database of the test's own on the server outside the cluster, and the Secret that names it to the chart."""
    name = namespace.replace("-", "_")

    async def create() -> None:
        connection = await asyncpg.connect(server_url)
        await connection.execute(f'CREATE DATABASE "{name}"')
        await connection.close()

    asyncio.run(create())
    url = server_url.rsplit("/", 1)[0] + f"/{name}"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "energy-database", "namespace": namespace},
              "stringData": {"url": url}}  # fmt: skip
    cluster.kubectl.apply(secret)
    return url


# Every reading has its id before it is sent, and is sent again with it until it is settled, as a meter's client should.
# A third of the requests hang for their 5 s while a node of three is cut off: at 300/s more than 850 users wait at once, and
# k6 drops what comes while it makes a new one.
_K6 = """
import http from "k6/http";
import { sleep } from "k6";
import { Counter } from "k6/metrics";
import exec from "k6/execution";
const acked = new Counter("acked"), gaveUp = new Counter("gave_up"), retried = new Counter("retried");
export const options = {
  noVUConnectionReuse: true, discardResponseBodies: true,
  scenarios: { steady: { executor: "constant-arrival-rate", rate: Number(__ENV.RATE), timeUnit: "1s",
    duration: __ENV.SECONDS + "s", preAllocatedVUs: 1500, maxVUs: 3000, gracefulStop: "60s" } },
};
const HEADERS = { "Content-Type": "application/json", Authorization: "Bearer " + __ENV.KEY };
export default function () {
  const n = String(exec.scenario.iterationInTest).padStart(12, "0");
  const body = JSON.stringify({ device_id: "00000000-0000-4000-8000-" + n, reading_id: "10ad10ad-0000-4000-8000-" + n,
                                register: "T0", value: "12.5" });
  for (let attempt = 0; attempt < 30; attempt++) {
    const status = http.post(__ENV.URL + "/v1/readings", body, { headers: HEADERS, timeout: "5s" }).status;
    if (status === 201 || status === 200) { acked.add(1); return; }
    retried.add(1);
    sleep(0.2 + Math.random());
  }
  gaveUp.add(1);
}
"""


class Load:
    """A running k6, and afterwards what it counted."""

    def __init__(self, process: subprocess.Popen[bytes], summary: Path, asked: int) -> None:
        self._process, self._summary, self.asked = process, summary, asked

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def counts(self, timeout_s: float = 150.0) -> dict[str, int]:
        self._process.wait(timeout_s)
        metrics = json.loads(self._summary.read_text())["metrics"]
        wanted = ("iterations", "acked", "gave_up", "retried", "dropped_iterations")
        return {name: int(metrics.get(name, {}).get("count", 0)) for name in wanted}


@contextmanager
def load(release: Release, folder: Path, *, rate: int, seconds: int) -> Iterator[Load]:
    """`rate` readings a second for `seconds` from the host against the Service."""
    script, summary = folder / "load.js", folder / "summary.json"
    k6 = Path(sys.executable).with_name("k6")
    script.write_text(_K6)
    address = release.get("service", "energy")["spec"]["clusterIP"]
    variables = {"URL": f"http://{address}", "KEY": release.key(), "RATE": str(rate), "SECONDS": str(seconds)}
    with (folder / "k6.log").open("wb") as log, subprocess.Popen(
        [k6, "run", "--quiet", "--no-usage-report", "--address=", f"--summary-export={summary}", str(script)],
        stdout=log, stderr=log, env=os.environ | variables,
    ) as process:  # fmt: skip
        try:
            yield Load(process, summary, rate * seconds)
        finally:
            if process.poll() is None:
                process.terminate()


def settled(load: Load, database_url: str) -> None:
    """Every reading was acknowledged in the end and is in the database once, and the load was what was promised.

    A busy machine may keep the generator from sending some: that says nothing of the service, up to a twentieth.
    """
    counts = load.counts()
    print(counts)  # noqa: T201 - the figures of the run, shown with -s or on failure
    assert counts["gave_up"] == 0
    assert counts["acked"] == counts["iterations"] >= 0.95 * load.asked
    assert stored(database_url) == (counts["acked"], counts["acked"])


def stored(database_url: str) -> tuple[int, int]:
    """Readings of the load in the database, and how many different ones."""

    async def count() -> tuple[int, int]:
        connection = await asyncpg.connect(database_url)
        row = await connection.fetchrow(
            "SELECT count(*), count(DISTINCT reading_id) FROM readings WHERE reading_id::text LIKE '10ad10ad-%'"
        )
        await connection.close()
        return int(row[0]), int(row[1])

    return asyncio.run(count())
