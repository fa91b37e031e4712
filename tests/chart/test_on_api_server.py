"""What a real API server says to the chart: schemas, warnings, Pod Security, rights, and who owns which field.

Nothing runs here: pods are accepted and stay pending. What runs is in tests/cluster/chart.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.openapi import write_schemas
from chart.test_rendered import documents, every_profile, pod_of
from tools.cluster import Cluster
from tools.cluster.binaries import CLOUDNATIVEPG, module_files, program
from tools.render import CHART, template

pytestmark = pytest.mark.cluster
SOMEBODY_ELSES = {
    "Certificate", "Issuer", "ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute", "Cluster", "ObjectStore", "ScheduledBackup",
}  # fmt: skip
CRD = CHART / "crds" / "billingwindows.yaml"


@pytest.fixture(scope="module")
def with_crd(control_plane: Cluster) -> Cluster:
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    control_plane.kubectl("wait", "--for=condition=Established", "crd/billingwindows.prescaler.energy-readings.dev")
    return control_plane


def of_this_cluster(values: Path) -> list[dict[str, Any]]:
    return [manifest for manifest in documents(f"--values={values}") if manifest["kind"] not in SOMEBODY_ELSES]


@every_profile
def test_the_api_server_takes_it_without_a_warning(
    values: Path, with_crd: Cluster, control_plane_namespace: str
) -> None:
    with_crd.kubectl(
        "apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "--force-conflicts", "--validate=strict",
        "-n", control_plane_namespace, "-f", "-", given=yaml.safe_dump_all(in_namespace(values, control_plane_namespace)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((f"--values={CHART}/ci/cloudnativepg-values.yaml",), {"Cluster", "ScheduledBackup", "ObjectStore"}),
        (("--set=cloudnativepg.instances=1",), {"Cluster"}),
        (
            ("--set=cloudnativepg.backup.objectStore.destinationPath=s3://energy/",
             "--set=cloudnativepg.backup.restoreFrom=first", "--set=cloudnativepg.backup.serverName=second"),
            {"Cluster", "ScheduledBackup", "ObjectStore"},
        ),
    ],
    ids=["an example", "one instance", "restored"],
)  # fmt: skip
def test_cloudnativepgs_own_definitions_take_the_cluster_and_its_backups(
    words: tuple[str, ...], expected: set[str], control_plane: Cluster, control_plane_namespace: str
) -> None:
    module = module_files("cloudnative-pg", "github.com/cloudnative-pg/cloudnative-pg")
    released = (module / "releases" / f"cnpg-{CLOUDNATIVEPG}.yaml").read_text()
    plugin = module_files("barman-cloud", "github.com/cloudnative-pg/plugin-barman-cloud")
    released += "\n---\n" + (plugin / "config/crd/bases/barmancloud.cnpg.io_objectstores.yaml").read_text()
    manifests = yaml.safe_load_all(released)
    definitions = [found for found in manifests if found and found["kind"] == "CustomResourceDefinition"]
    control_plane.kubectl.apply(*definitions)
    names = [f"crd/{found['metadata']['name']}" for found in definitions]
    control_plane.kubectl("wait", "--for=condition=Established", *names)
    objects = [
        found
        for found in documents("--set=database.kind=cloudnativepg", *words)
        if found["apiVersion"] in {"postgresql.cnpg.io/v1", "barmancloud.cnpg.io/v1"}
    ]
    assert {found["kind"] for found in objects} == expected
    control_plane.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", control_plane_namespace, "-f", "-",
        given=yaml.safe_dump_all(objects),
    )  # fmt: skip


@pytest.fixture(scope="module")
def schemas(with_crd: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    document = json.loads(with_crd.kubectl("get", "--raw", "/openapi/v2"))
    return write_schemas(document, tmp_path_factory.mktemp("schemas"))


def kubeconform(schemas: str, manifests: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("kubeconform"), "-strict", f"-schema-location={schemas}", f"-skip={','.join(SOMEBODY_ELSES)}", "-summary"],
        input=manifests, capture_output=True, text=True, check=False,
    )  # fmt: skip


@every_profile
def test_kubeconform_accepts_it(values: Path, schemas: str) -> None:
    answer = kubeconform(schemas, template(f"--values={values}"))
    assert answer.returncode == 0, answer.stdout


def test_kubeconform_refuses_a_misspelt_billing_window(schemas: str) -> None:
    window = template("--show-only=templates/billing-window.yaml")
    assert kubeconform(schemas, window).returncode == 0
    assert kubeconform(schemas, window.replace("leadTime", "leedTime")).returncode == 1


@every_profile
def test_every_pod_passes_pod_security_restricted(
    values: Path, with_crd: Cluster, control_plane_namespace: str
) -> None:
    manifests = of_this_cluster(values)
    pods = [(m["metadata"]["name"], pod) for m in manifests if (pod := pod_of(m))]
    assert pods
    for name, pod in pods:  # enforcement acts on Pods only, so each template is created as one
        body: dict[str, Any] = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"restartPolicy": "Never"} | pod | {"serviceAccountName": "default"},
        }  # fmt: skip
        body["spec"].pop("priorityClassName", None)  # of a cluster that has it, like accounts that exist
        if any(constraint.get("matchLabelKeys") for constraint in pod.get("topologySpreadConstraints", [])):
            body["metadata"]["labels"] = {"pod-template-hash": "x"}
        with_crd.kubectl(
            "create", "--dry-run=server", "--warnings-as-errors", "-n", control_plane_namespace, "-f", "-",
            given=json.dumps(body),
        )  # fmt: skip


def test_a_pod_that_is_not_restricted_is_refused(control_plane: Cluster, control_plane_namespace: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"},
           "spec": {"containers": [{"name": "root", "image": "x", "securityContext": {"privileged": True}}]}}  # fmt: skip
    with pytest.raises(RuntimeError, match="violates PodSecurity"):
        control_plane.kubectl(
            "create", "--dry-run=server", "-n", control_plane_namespace, "-f", "-", given=json.dumps(pod)
        )


@pytest.fixture
def installed(with_crd: Cluster, control_plane_namespace: str) -> Iterator[str]:
    """The default profile's objects in a namespace, without Helm."""
    with_crd.kubectl(
        "apply", "--server-side", "-n", control_plane_namespace, "-f", "-",
        given=yaml.safe_dump_all(in_namespace(CHART / "ci/default-values.yaml", control_plane_namespace)),
    )  # fmt: skip
    yield control_plane_namespace
    with_crd.kubectl("delete", "clusterrole,clusterrolebinding", f"energy-operator-{control_plane_namespace}")


def in_namespace(values: Path, namespace: str) -> list[dict[str, Any]]:
    text = template(f"--values={values}", f"--namespace={namespace}", "--no-hooks")
    return [m for m in yaml.safe_load_all(text) if m and m["kind"] not in SOMEBODY_ELSES]


NODES = {
    "apiVersion": "apps/v1", "kind": "StatefulSet",
    "spec": {
        "serviceName": "x", "replicas": 5, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}},
    },
}  # fmt: skip
RUNNING = {"energy-readings.dev/mode": "cluster", "energy-readings.dev/certificates-from": "self-signed"}
BREAKS = [  # values for an upgrade of what runs, what the refusal says
    ("cockroachdb.nodes=3", "Decommission them first"),
    ("cockroachdb.mode=single-node", "Decommission them first"),
    ("cockroachdb.mode=single-node,cockroachdb.decommissioned=true", 'has mode "cluster"'),
    ("cockroachdb.nodes=5,cockroachdb.tls.source=cert-manager", 'has certificates-from "self-signed"'),
    ("cockroachdb.nodes=5,operator.enabled=false", "operator.billingWindow.enabled=false first"),
    ("database.kind=external,database.external.existingSecret=db", "readings are in StatefulSet energy-cockroachdb"),
]


@pytest.mark.parametrize("version", [3, 4])
def test_what_an_upgrade_would_break_is_refused(version: int, with_crd: Cluster, control_plane_namespace: str) -> None:
    where = {"namespace": control_plane_namespace}
    window = next(m for m in documents() if m["kind"] == "BillingWindow")
    with_crd.kubectl.apply(
        NODES | {"metadata": where | {"name": "energy-cockroachdb", "annotations": RUNNING}},
        window | {"metadata": where | {"name": "energy"}},
    )

    def refusal(values: str) -> str:
        answer = subprocess.run(
            [program(f"helm-v{version}"), "install", "energy", CHART, "--dry-run=server", f"--set={values}",
             "--namespace", control_plane_namespace, "--kubeconfig", with_crd.kubeconfig],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return answer.stderr

    for values, says in BREAKS:
        assert says in refusal(values), values
    for values in ("cockroachdb.nodes=5", "cockroachdb.nodes=7", "cockroachdb.nodes=3,cockroachdb.decommissioned=true"):
        assert "energy:" not in refusal(values), values


OPERATOR, RELEASE, MIGRATE = "energy-operator", "energy-operator-release", "energy-migrate"
CERTIFICATES, SERVICE, COCKROACHDB = "energy-cockroachdb-certificates", "energy", "energy-cockroachdb"
RIGHTS = [  # account, verb, resource, allowed
    (OPERATOR, "patch", "horizontalpodautoscalers/energy", True),
    (OPERATOR, "patch", "billingwindows/energy --subresource=status", True),
    (OPERATOR, "list", "pods", True),
    (OPERATOR, "list", "nodes", True),
    (OPERATOR, "create", "leases", True),
    (OPERATOR, "patch", "leases/prescaler", True),
    (OPERATOR, "patch", "leases/another", False),
    (OPERATOR, "create", "billingwindows", False),
    (OPERATOR, "create", "horizontalpodautoscalers", False),
    (OPERATOR, "delete", "horizontalpodautoscalers/energy", False),
    (OPERATOR, "patch", "deployments/energy", False),
    (OPERATOR, "patch", "deployments/energy --subresource=scale", False),
    (OPERATOR, "get", "secrets/energy-bootstrap", False),
    (OPERATOR, "create", "pods", False),
    (OPERATOR, "create", "pods --subresource=exec", False),
    (OPERATOR, "patch", "nodes", False),
    (OPERATOR, "patch", "customresourcedefinitions", False),
    (OPERATOR, "delete", "billingwindows/energy", False),
    (RELEASE, "delete", "billingwindows/energy", True),
    (RELEASE, "delete", "billingwindows/another", False),
    (RELEASE, "patch", "horizontalpodautoscalers/energy", True),
    (RELEASE, "get", "secrets/energy-bootstrap", False),
    (MIGRATE, "get", "secrets/energy-bootstrap", True),
    (MIGRATE, "patch", "secrets/energy-bootstrap", True),
    (MIGRATE, "create", "secrets", False),
    (MIGRATE, "list", "secrets", False),
    (MIGRATE, "delete", "secrets/energy-bootstrap", False),
    (MIGRATE, "get", "secrets/energy-cockroachdb-root", False),
    (CERTIFICATES, "patch", "secrets/energy-cockroachdb-node", True),
    (CERTIFICATES, "patch", "secrets/energy-cockroachdb-ca", True),
    (CERTIFICATES, "patch", "statefulsets/energy-cockroachdb", True),
    (CERTIFICATES, "patch", "deployments/energy", False),
    (CERTIFICATES, "get", "secrets/energy-bootstrap", False),
    (CERTIFICATES, "create", "secrets", False),
    (CERTIFICATES, "list", "secrets", False),
    (SERVICE, "get", "secrets/energy-bootstrap", False),
    (SERVICE, "list", "pods", False),
    (COCKROACHDB, "get", "secrets/energy-cockroachdb-node", False),
    (COCKROACHDB, "list", "pods", False),
]


def test_each_account_may_do_what_it_needs_and_nothing_else(installed: str, control_plane: Cluster) -> None:
    wrong = []
    for account, verb, resource, allowed in RIGHTS:
        answer = subprocess.run(
            [program("kubectl"), f"--kubeconfig={control_plane.kubeconfig}", "auth", "can-i", verb, *resource.split(),
             "-n", installed, f"--as=system:serviceaccount:{installed}:{account}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if answer.stdout.strip() != ("yes" if allowed else "no"):
            wrong.append(
                f"{account} {verb} {resource}: {answer.stdout.strip()}{answer.stderr.strip()}, wanted {allowed}"
            )
    assert wrong == []
