"""What a cluster with one node can do, and that the product's images do it within the strictest limits."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from cluster import objects
from cluster.database import Database
from tools.cluster import Cluster, Manifest, RefusedError
from tools.local.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

BIN = Path(sys.executable).parent  # the environment's programs, also where nobody put them on the PATH

CALLS_THE_API = """
import json, pathlib, ssl, urllib.request
account = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
asked = urllib.request.Request("https://kubernetes.default.svc/api",
                               headers={"Authorization": "Bearer " + (account / "token").read_text()})
trusting = ssl.create_default_context(cafile=account / "ca.crt")
print(json.load(urllib.request.urlopen(asked, context=trusting))["kind"])
try:
    urllib.request.urlopen(asked, context=ssl.create_default_context())
except OSError as error:
    print("CERTIFICATE_VERIFY_FAILED" in str(error))
"""
LOOKS_AROUND = """
import importlib.util, os, pathlib
print(os.getuid(), importlib.util.find_spec("pip"), importlib.util.find_spec("ensurepip"))
try:
    pathlib.Path("/written").touch()
except OSError as error:
    print(error.strerror)
"""
LOAD = """
import http from "k6/http";
export const options = {vus: 12, duration: "120s", noConnectionReuse: true, noVUConnectionReuse: true};
export default function () {
  const device = "00000000-0000-4000-8000-" + String(__VU * 1000000 + __ITER).padStart(12, "0");
  http.post(__ENV.TARGET + "/v1/values", JSON.stringify({device_id: device, value: __ITER}),
            {headers: {"Content-Type": "application/json"}});
}
"""


def finished(cluster: Cluster, pod: Manifest) -> str:
    """Runs a pod to its end and gives back what it printed."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    cluster.kubectl.apply(pod)
    cluster.kubectl.wait_for(
        "pod", name, lambda seen: seen["status"]["phase"] in {"Succeeded", "Failed"}, "has ended", namespace=namespace
    )
    return cluster.kubectl("logs", name, "-n", namespace)


def test_a_person_can_look_inside(one_node: Cluster, one_node_namespace: str) -> None:
    talks = objects.container("python", "-uc", f"print('hello'); {objects.SLEEP}")
    one_node.kubectl.apply(objects.pod("talks", one_node_namespace, objects.pod_spec(talks)))
    one_node.kubectl("wait", "pod/talks", "--for=condition=Ready", "-n", one_node_namespace, "--timeout=60s")
    in_namespace = ("-n", one_node_namespace)
    until(lambda: one_node.kubectl("logs", "talks", *in_namespace) == "hello\n", "the log says hello")
    assert one_node.kubectl("exec", "talks", *in_namespace, "--", "python", "-c", "print(6 * 7)") == "42\n"
    top = until(lambda: measured(one_node, "pod", "talks", *in_namespace), "kubectl top knows the pod")
    assert "Mi" in top
    assert "node-1" in one_node.kubectl("top", "node")


def measured(cluster: Cluster, *words: str) -> str:
    try:
        return cluster.kubectl("top", *words)
    except RefusedError:  # not measured yet
        return ""


def test_a_pod_finds_services_by_name_and_trusts_the_api_server(one_node: Cluster, one_node_namespace: str) -> None:
    said = finished(one_node, objects.script("calls", one_node_namespace, CALLS_THE_API))
    assert said.split() == ["APIVersions", "True"], "with the cluster's authority it works, without it must not"


def test_a_volume_outlives_its_pod(one_node: Cluster, one_node_namespace: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": one_node_namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    one_node.kubectl.apply(claim)
    mount = [{"name": "data", "mountPath": "/data"}]
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]

    def with_volume(name: str, text: str) -> Manifest:
        main = objects.container("python", "-c", text, volumeMounts=mount)
        return objects.pod(name, one_node_namespace, objects.pod_spec(main, volumes=volumes, restartPolicy="Never"))

    finished(one_node, with_volume("writes", "open('/data/x', 'w').write('kept')"))
    assert finished(one_node, with_volume("reads", "print(open('/data/x').read())")) == "kept\n"
    assert one_node.kubectl.get("pvc", "data", namespace=one_node_namespace)["status"]["phase"] == "Bound"


@pytest.mark.parametrize("image", [objects.APP_IMAGE, objects.OPERATOR_IMAGE])
def test_an_image_runs_unprivileged_on_a_read_only_root(one_node: Cluster, one_node_namespace: str, image: str) -> None:
    looks = objects.container("python", "-c", LOOKS_AROUND, image=image)
    spec = objects.pod_spec(looks, restartPolicy="Never")
    said = finished(one_node, objects.pod("looks", one_node_namespace, spec)).splitlines()
    assert said == ["65532 None None", "Read-only file system"]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        pytest.param(objects.APP_IMAGE, ["energy", "version"], id="energy"),
        pytest.param(objects.OPERATOR_IMAGE, ["prescaler", "--help"], id="prescaler"),
    ],
)
def test_the_product_starts_from_its_image(
    one_node: Cluster, one_node_namespace: str, image: str, words: list[str]
) -> None:
    spec = objects.pod_spec(objects.container(*words, image=image), restartPolicy="Never")
    finished(one_node, objects.pod("starts", one_node_namespace, spec))
    assert one_node.kubectl.get("pod", "starts", namespace=one_node_namespace)["status"]["phase"] == "Succeeded"


def test_a_privileged_pod_is_refused(one_node: Cluster, one_node_namespace: str) -> None:
    privileged = objects.container("python", "-c", objects.SLEEP)
    privileged["securityContext"] = {"privileged": True}
    with pytest.raises(RefusedError, match='violates PodSecurity "restricted:latest"'):
        one_node.kubectl.apply(objects.pod("root", one_node_namespace, objects.pod_spec(privileged)))


def test_the_service_scales_out_under_load_and_shares_the_requests(
    one_node: Cluster, one_node_namespace: str, pod_database: Database, tmp_path: Path
) -> None:
    subprocess.run([BIN / "energy", "migrate"], check=True, env=os.environ | {"ENERGY_DATABASE_URL": pod_database.url})
    one_node.kubectl.apply(*objects.service_app(one_node_namespace, pod_database.url))
    one_node.kubectl.rollout("deployment/energy", namespace=one_node_namespace)
    assert len(one_node.kubectl.items("pods", namespace=one_node_namespace)) == 1
    address = one_node.kubectl.get("service", "energy", namespace=one_node_namespace)["spec"]["clusterIP"]
    load = tmp_path / "load.js"
    load.write_text(LOAD)
    with (tmp_path / "k6.log").open("w") as log:
        target = os.environ | {"TARGET": f"http://{address}"}
        k6 = subprocess.Popen([BIN / "k6", "run", "--quiet", load], env=target, stdout=log, stderr=log)
        with k6:
            try:
                stored = until(
                    lambda: stored_by_pod(one_node, one_node_namespace),
                    "three pods and more have stored readings",
                    timeout_s=100,
                )
            finally:
                k6.terminate()
    assert min(stored.values()) > 0


def stored_by_pod(cluster: Cluster, namespace: str) -> dict[str, float]:
    """Readings stored by each pod, once there are three and each has stored some."""
    pods = cluster.kubectl.items("pods", namespace=namespace, selector="app=energy")
    counts = {pod["metadata"]["name"]: stored_by(pod["status"].get("podIP")) for pod in pods}
    at_work = {name: count for name, count in counts.items() if count}
    return at_work if len(at_work) >= 3 else {}


def stored_by(address: str | None) -> float:
    try:
        metrics = httpx.get(f"http://{address}:8000/metrics", trust_env=False).text if address else ""
    except httpx.TransportError:  # not listening yet
        return 0
    return sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("energy_readings_total{"))
