"""Every NetworkPolicy of the chart, from both sides: what a component must reach it reaches, and nothing else gets anywhere.

The policies are the chart's, enforced by the cluster's nodes; so are the labels and ports of the pods. In the place of
each component stands a pod that listens on every port there is, because who may connect is all that is asked.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import objects
from cluster.chart.release import EXTERNAL, Release
from tools.cluster import Cluster, Manifest
from tools.cluster.control_plane import PORT as API
from tools.cluster.network import HOST
from tools.local.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]

WORLD = 9999  # a port that no policy names
DATABASE = 5432
OUTSIDERS = ("client", "scraper", "manager", "stranger")
ENFORCED_WITHIN_S = 90.0
INSTANCES = ("postgresql", "postgresql-2")  # CloudNativePG's operator makes their pods, with these ports
INSTANCE_PORTS = {"postgresql": 5432, "metrics": 9187, "status": 8000}
CNPG = "--api-versions=postgresql.cnpg.io/v1"
_COMPONENT = "app.kubernetes.io/component"
_LISTENS = """
import signal, socket, sys
held = [socket.create_server(("", int(port)), backlog=1024) for port in sys.argv[1:]]
signal.pause()
"""
# Resolves a name and tries every address at once; prints those that answered. A drop costs the time limit, once.
_TRIES = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def tries(item):
    name, (host, port) = item
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return None
    return name
addresses = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(addresses)) as several:
    answered = [name for name in several.map(tries, addresses.items()) if name]
try:
    socket.getaddrinfo("kubernetes.default.svc.cluster.local", 443)
    answered.append("names")
except OSError:
    pass
print(json.dumps(answered))
"""


@dataclass(frozen=True)
class Case:
    """Values of the chart, and who then reaches what; all else is refused."""

    values: tuple[dict[str, Any], ...]
    everybody: frozenset[str]  # what every pod of the cluster may reach
    reaches: dict[str, set[str]] = field(default_factory=dict)


def peer(role: str) -> Manifest:
    return {"namespaceSelector": {}, "podSelector": {"matchLabels": {"role": role}}}


CASES = {
    "as installed": Case(
        ({"load": {"enabled": True}},),
        frozenset({"app:http", "cockroachdb:http", "operator:metrics"}),
        {
            "app": {"cockroachdb:sql"},
            "migrate": {"cockroachdb:sql", "kubernetes"},
            "cockroachdb": {"cockroachdb:sql"},
            "cockroachdb-init": {"cockroachdb:sql"},
            "certificates": {"kubernetes"},
            "operator": {"kubernetes"},
            "operator-release": {"kubernetes"},
            "test": {"app:http"},
            "load": {"app:http"},
        },
    ),
    "with few clients and an external database": Case(
        (
            EXTERNAL,
            {
                "load": {"enabled": True},
                "networkPolicy": {
                    "clients": [peer("client")],
                    "scrapers": [peer("scraper")],
                    "apiServerCidrs": [f"{HOST}/32"],
                },
            },
        ),
        frozenset(),
        {
            "app": {f"{name}:database" for name in OUTSIDERS},
            "migrate": {*(f"{name}:database" for name in OUTSIDERS), "kubernetes"},
            "operator": {"kubernetes"},
            "operator-release": {"kubernetes"},
            "test": {"app:http"},
            "load": {"app:http"},
            "client": {"app:http"},
            "scraper": {"app:http", "operator:metrics"},
        },
    ),
    "on CloudNativePG": Case(
        (
            {
                "database": {"kind": "cloudnativepg"},
                "networkPolicy": {"scrapers": [peer("scraper")], "cloudnativepg": {"operator": [peer("manager")]}},
            },
        ),
        frozenset({"app:http"}),
        {
            "app": {"postgresql:postgresql", "postgresql-2:postgresql"},
            "migrate": {"postgresql:postgresql", "postgresql-2:postgresql", "kubernetes"},
            "postgresql": {"postgresql-2:postgresql", "postgresql-2:status", "kubernetes"},
            "postgresql-2": {"postgresql:postgresql", "postgresql:status", "kubernetes"},
            "operator": {"kubernetes"},
            "operator-release": {"kubernetes"},
            "test": {"app:http"},
            "manager": {f"{name}:{port}" for name in INSTANCES for port in ("postgresql", "status")},
            "scraper": {"operator:metrics", *(f"{name}:metrics" for name in INSTANCES)},
        },
    ),
}


@pytest.fixture
def elsewhere(one_node: Cluster, one_node_namespace: str) -> Iterator[str]:
    """A second namespace, of somebody else."""
    name = f"{one_node_namespace[-40:].strip('-')}-elsewhere"
    one_node.kubectl("create", "namespace", name)
    one_node.kubectl.wait_for("serviceaccount", "default", bool, "exists", namespace=name)
    yield name
    one_node.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_each_component_reaches_what_it_needs_and_nobody_anything_else(
    case: Case, one_node: Cluster, one_node_namespace: str, elsewhere: str, tmp_path: Path
) -> None:
    rendered = list(
        yaml.safe_load_all(Release(one_node, one_node_namespace, tmp_path, *case.values).template(CNPG, hooks=True))
    )
    one_node.kubectl.apply(
        *(
            {**m, "metadata": {**m["metadata"], "namespace": one_node_namespace}}
            for m in of_kind(rendered, "NetworkPolicy")
        )
    )
    components = dict(pods_of(rendered)) | dict(instances_of(rendered))
    ports = {"database": DATABASE, "world": WORLD} | {n: p for _, own in components.values() for n, p in own.items()}
    pods = [
        *(stand_in(name, one_node_namespace, labels, own, ports) for name, (labels, own) in components.items()),
        stand_in("neighbour", one_node_namespace, {}, {}, ports),
        *(stand_in(name, elsewhere, {"role": name}, {}, ports) for name in OUTSIDERS),
    ]
    one_node.kubectl.apply(*pods)
    addresses = addresses_of(one_node, pods, {name: own for name, (_, own) in components.items()})
    expected = {pod["metadata"]["name"]: allowed(pod, case, components, addresses) for pod in pods}

    seen: dict[str, set[str]] = {}

    def holds() -> bool:
        with ThreadPoolExecutor(4) as several:
            seen.update(several.map(lambda pod: (pod["metadata"]["name"], reached(one_node, pod, addresses)), pods))
        return seen == expected

    try:
        until(holds, "the policies hold", timeout_s=ENFORCED_WITHIN_S)
    except TimeoutError:
        assert seen == expected, "who reaches what"
    assert holds(), "and go on to hold"


def of_kind(rendered: list[Manifest], kind: str) -> Iterator[Manifest]:
    return (manifest for manifest in rendered if manifest and manifest["kind"] == kind)


def pods_of(rendered: list[Manifest]) -> Iterator[tuple[str, tuple[dict[str, str], dict[str, int]]]]:
    """Component → its pods' labels and named ports, from whatever makes pods."""
    for manifest in filter(None, rendered):
        template = manifest
        while "template" in (spec := template.get("spec", {})) or "jobTemplate" in spec:
            template = spec.get("template") or spec["jobTemplate"]
        if "containers" not in spec:
            continue
        labels = template["metadata"]["labels"]
        ports = {p["name"]: p["containerPort"] for c in spec["containers"] for p in c.get("ports", [])}
        yield labels[_COMPONENT], (labels, ports)


def instances_of(rendered: list[Manifest]) -> Iterator[tuple[str, tuple[dict[str, str], dict[str, int]]]]:
    """The same of the pods that CloudNativePG makes: what their policy says that they are."""
    for policy in of_kind(rendered, "NetworkPolicy"):
        labels = policy["spec"]["podSelector"]["matchLabels"]
        if "cnpg.io/cluster" in labels:
            yield from ((name, (labels, INSTANCE_PORTS)) for name in INSTANCES)


def stand_in(name: str, namespace: str, labels: dict[str, str], own: dict[str, int], ports: dict[str, int]) -> Manifest:
    listens = sorted({*ports.values(), *own.values()})
    named = [{"name": port, "containerPort": number} for port, number in own.items()]
    main = objects.container("python", "-c", _LISTENS, *map(str, listens), ports=named)
    pod = objects.pod(name, namespace, objects.pod_spec(main))
    pod["metadata"]["labels"] = labels
    return pod


def addresses_of(cluster: Cluster, pods: list[Manifest], own: dict[str, dict[str, int]]) -> dict[str, tuple[str, int]]:
    """Everything that might be reached: each component's own ports, and a port of everybody that no policy names."""
    addresses = {"kubernetes": (HOST, API)}
    for pod in pods:
        name = pod["metadata"]["name"]
        running = cluster.kubectl.wait_for(
            "pod",
            name,
            lambda seen: seen["status"].get("phase") == "Running" and seen["status"].get("podIP"),
            "runs",
            namespace=pod["metadata"]["namespace"],
        )
        ports = {**own.get(name, {}), "world": WORLD} | ({"database": DATABASE} if name in OUTSIDERS else {})
        addresses |= {f"{name}:{port}": (running["status"]["podIP"], number) for port, number in ports.items()}
    return addresses


def allowed(pod: Manifest, case: Case, components: dict[str, Any], addresses: dict[str, tuple[str, int]]) -> set[str]:
    """What the case says of one pod. Nothing keeps a pod from itself, and nobody's policies keep the others' pods apart."""
    name = pod["metadata"]["name"]
    itself = {address for address in addresses if address.startswith(f"{name}:")}
    if name in components:
        return case.reaches[name] | itself | {"names"}
    free = {address for address in addresses if address.partition(":")[0] not in components}
    return free | case.everybody | case.reaches.get(name, set()) | itself | {"names"}


def reached(cluster: Cluster, pod: Manifest, addresses: dict[str, tuple[str, int]]) -> set[str]:
    where = ("exec", pod["metadata"]["name"], "-n", pod["metadata"]["namespace"], "--", "python", "-c", _TRIES)
    return set(json.loads(cluster.kubectl(*where, json.dumps(addresses))))
