"""The chart on clusters that aren't ours: OpenShift, Cilium, meshes, registries of one's own, long names, parents, small rights."""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.test_rendered import CI_VALUES, kinds, pod_of
from tools.render import template

pytestmark = pytest.mark.cluster  # for Helm itself
LICENCE = "--set=cockroachdb.licence.existingSecret=licence"
CERT_MANAGER = "--set=cockroachdb.tls.source=cert-manager"
EXISTING = ("--set=cockroachdb.tls.source=existing",
            *(f"--set=cockroachdb.tls.existing.{party}=own-{party}" for party in ("node", "root", "owner", "app")))  # fmt: skip
Manifest = dict[str, Any]


class StrictLoader(yaml.SafeLoader):
    """As kustomize reads, which Flux always renders with: a key may stand once in a mapping."""


def _no_key_twice(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"{[key for key in keys if keys.count(key) > 1]} twice at {node.start_mark}"
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found


StrictLoader.add_constructor("tag:yaml.org,2002:map", _no_key_twice)


@lru_cache
def rendered(*words: str) -> list[Manifest]:
    return [found for found in yaml.load_all(template(*words), StrictLoader) if found]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (manifest for manifest in kinds(manifests, kind) if manifest["metadata"]["name"] == name)
    return found


def policy(component: str, *words: str) -> Manifest:
    spec: Manifest = named(rendered(*words), "NetworkPolicy", f"energy-{component}")["spec"]
    return spec


def pods(*words: str) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Name of what makes it, the pod's metadata and its spec."""
    for manifest in rendered(*words):
        spec = pod_of(manifest)
        if spec is None:
            continue
        template_of = manifest["spec"]
        if manifest["kind"] == "CronJob":
            template_of = template_of["jobTemplate"]["spec"]
        metadata = manifest["metadata"] if manifest["kind"] == "Pod" else template_of["template"]["metadata"]
        yield f"{manifest['kind']}/{manifest['metadata']['name']}", metadata, spec


def containers(spec: Manifest) -> list[Manifest]:
    return [*spec.get("initContainers", []), *spec["containers"]]


SETS = {
    "a standard label": ("labels.app\\.kubernetes\\.io/part-of=platform", "labels.team=meters"),
    "load with a key of its own": ("load.enabled=true", "load.env.LOAD_API_KEY=x"),
    "a label twice": ("monitoring.podMonitor.enabled=true", "monitoring.podMonitor.labels.team=x", "labels.team=y"),
    "cert-manager": ("cockroachdb.tls.source=cert-manager",),
    "existing certificates": tuple(word.removeprefix("--set=") for word in EXISTING),
    "locality from labels": ("cockroachdb.localityLabels={region,topology.kubernetes.io/zone}",),
    "without operator": ("operator.enabled=false",),
    "without policies": ("networkPolicy.enabled=false",),
    "without roles": ("rbac.create=false",),
    "without HPA": ("autoscaling.enabled=false", "operator.billingWindow.enabled=false"),
}
WORDS = {
    **{path.name.removesuffix("-values.yaml"): (f"--values={path}",) for path in CI_VALUES},
    **{name: tuple(f"--set={value}" for value in values) for name, values in SETS.items()},
    "OpenShift": ("--api-versions=security.openshift.io/v1",),
}
EXTERNAL = ("--set=database.kind=external", "--set=database.external.existingSecret=db")


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_no_key_and_no_variable_stands_twice(words: tuple[str, ...]) -> None:
    assert rendered(*words)
    for name, _, spec in pods(*words):
        for container in containers(spec):
            variables = [variable["name"] for variable in container.get("env", [])]
            assert len(variables) == len(set(variables)), f"{name} {container['name']}: {variables}"


def test_labels_of_ones_own_cannot_replace_the_charts() -> None:
    for manifest in rendered("--set=labels.app\\.kubernetes\\.io/part-of=platform", "--set=labels.team=meters"):
        assert manifest["metadata"]["labels"]["app.kubernetes.io/part-of"] == "energy"
        assert manifest["metadata"]["labels"]["team"] == "meters"


def test_without_ranges_no_rule_names_an_address() -> None:
    policies = kinds(rendered(*EXTERNAL), "NetworkPolicy")
    rules = [rule for found in policies for rule in found["spec"].get("egress", [])]
    assert [peer for rule in rules for peer in rule.get("to", []) if "ipBlock" in peer] == []
    (database,) = [rule for rule in rules if {"port": 5432, "protocol": "TCP"} in rule["ports"]][:1]
    assert "to" not in database


def test_ranges_of_both_families_are_kept_to() -> None:
    rules = policy("operator", "--set=networkPolicy.apiServerCidrs={10.0.0.0/8,fd00::/8}")["egress"]
    assert [peer["ipBlock"]["cidr"] for rule in rules for peer in rule.get("to", [])] == ["10.0.0.0/8", "fd00::/8"]


def test_names_resolve_on_openshift_too() -> None:
    for found in kinds(rendered(), "NetworkPolicy"):
        if found["metadata"]["name"] != "energy-default-deny":
            assert {"port": 5353, "protocol": "UDP"} in found["spec"]["egress"][0]["ports"]


def test_openshift_chooses_the_users() -> None:
    for name, _, spec in pods("--api-versions=security.openshift.io/v1"):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & spec["securityContext"].keys(), name
        assert spec["securityContext"]["runAsNonRoot"] is True


def test_a_field_of_the_security_context_can_be_left_out() -> None:
    for name, _, spec in pods("--set=podSecurityContext.fsGroup=null"):
        assert "fsGroup" not in spec["securityContext"], name


def test_cockroachdb_reaches_licence_telemetry_and_backups_when_it_has_them() -> None:
    ports = [port["port"] for rule in policy("cockroachdb", LICENCE)["egress"] for port in rule["ports"]]
    assert 443 in ports
    assert 443 not in [port["port"] for rule in policy("cockroachdb")["egress"] for port in rule["ports"]]


def test_cockroachdb_takes_more_rules_and_a_clouds_identity() -> None:
    words = (
        '--set-json=networkPolicy.cockroachdb={"extraEgress":[{"ports":[{"port":80}]}],"extraIngress":[{"from":[{"podSelector":{}}]}]}',
        "--set=serviceAccounts.cockroachdb.annotations.role=backup",
    )
    found = policy("cockroachdb", *words)
    assert {"ports": [{"port": 80}]} in found["egress"]
    assert {"from": [{"podSelector": {}}]} in found["ingress"]
    assert named(rendered(*words), "ServiceAccount", "energy-cockroachdb")["metadata"]["annotations"] == {
        "role": "backup"
    }


def test_who_scrapes_may_also_scrape_a_service_with_few_clients() -> None:
    (ingress,) = policy("app", f"--values={CI_VALUES[0].parent / 'ha-values.yaml'}")["ingress"]
    spaces = [peer["namespaceSelector"]["matchLabels"] for peer in ingress["from"] if "namespaceSelector" in peer]
    assert {"kubernetes.io/metadata.name": "monitoring"} in spaces


def test_the_port_of_a_test_address_is_open() -> None:
    ports = [
        port["port"] for rule in policy("test", "--set=tests.url=https://x:8443")["egress"] for port in rule["ports"]
    ]
    assert 8443 in ports
    assert 443 not in ports


@pytest.mark.parametrize("words", [(), (CERT_MANAGER,), EXISTING], ids=["self-signed", "cert-manager", "existing"])
def test_whoever_renews_certificates_the_nodes_are_restarted(words: tuple[str, ...]) -> None:
    cron = named(rendered(*words), "CronJob", "energy-cockroachdb-renew")
    args = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--statefulset=energy-cockroachdb" in args
    assert f"--secret={'own-node' if words == EXISTING else 'energy-cockroachdb-node'}" in args


def test_the_authoritys_key_outlives_its_certificate_with_cert_manager() -> None:
    authority = named(rendered(CERT_MANAGER), "Certificate", "energy-cockroachdb-ca")
    assert authority["spec"]["privateKey"]["rotationPolicy"] == "Never"


def test_the_billing_window_is_an_object_that_goes_when_it_is_switched_off() -> None:
    window = named(rendered(), "BillingWindow", "energy")
    assert window["spec"]["targetRef"] == {"name": "energy"}
    assert window["spec"]["baseline"] == {"minReplicas": 2}
    assert kinds(rendered("--set=operator.billingWindow.enabled=false"), "BillingWindow") == []


def test_an_uninstall_releases_its_own_window_and_keeps_the_evidence() -> None:
    release = named(rendered(), "Job", "energy-operator-release")
    assert "--name=energy" in release["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "hook-failed" not in release["metadata"]["annotations"]["helm.sh/hook-delete-policy"]


@pytest.mark.parametrize(
    "value",
    ["cockroachdb.drain.connectionsSeconds=60", "cockroachdb.clusterSettings.sql\\.defaults\\.foo=1"],
)
def test_a_changed_script_is_run_by_a_new_job(value: str) -> None:
    def migrate(*words: str) -> str:
        return next(
            str(job["metadata"]["name"])
            for job in kinds(rendered(*words), "Job")
            if "-migrate-" in job["metadata"]["name"]
        )

    assert migrate() != migrate(f"--set={value}")


def test_a_failed_pod_of_a_job_keeps_its_log() -> None:
    for name, _, spec in pods(f"--values={CI_VALUES[0].parent / 'ha-values.yaml'}"):
        if name.startswith(("Job/", "CronJob/")):
            assert spec["restartPolicy"] == "Never", name


LONG = "energy-ingestion-production-eu-west"
LIMITS = {
    "CronJob": 52,
    "Job": 63,
    "Service": 63,
    "StatefulSet": 52,
    "Deployment": 47,
}  # what they make has longer names


@pytest.mark.parametrize("release", [LONG, "e" * 53, "energy.a", "a"])
def test_every_name_is_legal_for_every_release(release: str) -> None:
    words = ("--set=monitoring.podMonitor.enabled=true", "--set=load.enabled=true")
    text = template(*words).replace("--namespace", "")
    assert text
    for manifest in of_release(release, *words):
        name = manifest["metadata"]["name"]
        assert len(name) <= LIMITS.get(manifest["kind"], 253), name
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name), name


def of_release(release: str, *words: str) -> list[Manifest]:
    return [found for found in yaml.safe_load_all(template(*words, release=release)) if found]


def test_two_long_releases_share_no_name() -> None:
    one, two = (
        {(m["kind"], m["metadata"]["name"]) for m in of_release(f"{LONG}-{number}") if m["kind"] != "BillingWindow"}
        for number in (1, 2)
    )
    assert one & two == set()


def test_a_registry_and_pull_secrets_of_a_parent_chart_count() -> None:
    words = (
        "--set=global.imageRegistry=registry.example/",
        "--set=global.imagePullSecrets[0].name=theirs",
        "--set=imagePullSecrets={mine}",
        "--set=enabled=true",
    )
    for name, _, spec in pods(*words):
        assert all(container["image"].startswith("registry.example/") for container in containers(spec)), name
        assert spec["imagePullSecrets"] == [{"name": "theirs"}, {"name": "mine"}], name


def test_a_mesh_can_be_kept_out_of_what_must_end() -> None:
    words = ("--set-string=jobs.podLabels.sidecar\\.istio\\.io/inject=false", "--set=load.enabled=true")
    for name, metadata, _ in pods(*words):
        once = name.startswith(("Job/", "CronJob/", "Pod/"))
        assert (metadata["labels"].get("sidecar.istio.io/inject") == "false") == once, name


@pytest.mark.parametrize("component", ["app", "cockroachdb", "operator"])
def test_variables_volumes_sidecars_and_annotations_can_be_added(component: str) -> None:
    more = {
        "extraEnv": '[{"name":"A","value":"b"}]', "extraEnvFrom": '[{"configMapRef":{"name":"c"}}]',
        "extraVolumes": '[{"name":"v","emptyDir":{}}]', "extraVolumeMounts": '[{"name":"v","mountPath":"/v"}]',
        "initContainers": '[{"name":"first","image":"i"}]', "sidecars": '[{"name":"beside","image":"i"}]',
        "podAnnotations": '{"p":"q"}', "podLabels": '{"l":"m"}', "annotations": '{"reload":"yes"}',
    }  # fmt: skip
    words = tuple(f"--set-json={component}.{name}={value}" for name, value in more.items())
    kind = "StatefulSet" if component == "cockroachdb" else "Deployment"
    made = named(rendered(*words), kind, "energy" if component == "app" else f"energy-{component}")
    metadata, spec = made["spec"]["template"]["metadata"], made["spec"]["template"]["spec"]
    main = spec["containers"][0]
    assert {"name": "A", "value": "b"} in main["env"]
    assert main["envFrom"] == [{"configMapRef": {"name": "c"}}]
    assert {"name": "v", "mountPath": "/v"} in main["volumeMounts"]
    assert {"name": "v", "emptyDir": {}} in spec["volumes"]
    assert [container["name"] for container in spec["initContainers"]] == ["first"]
    assert spec["containers"][-1]["name"] == "beside"
    assert (metadata["annotations"]["p"], metadata["labels"]["l"]) == ("q", "m")
    assert made["metadata"]["annotations"]["reload"] == "yes"


def test_accounts_that_exist_get_the_rights() -> None:
    words = ("--set=serviceAccounts.operator.create=false", "--set=serviceAccounts.operator.name=ours")
    manifests = rendered(*words)
    assert "energy-operator" not in [account["metadata"]["name"] for account in kinds(manifests, "ServiceAccount")]
    assert named(manifests, "Deployment", "energy-operator")["spec"]["template"]["spec"]["serviceAccountName"] == "ours"
    assert named(manifests, "RoleBinding", "energy-operator")["subjects"][0]["name"] == "ours"


def test_without_cluster_roles_nothing_reaches_beyond_the_namespace() -> None:
    found = {manifest["kind"] for manifest in rendered("--set=rbac.clusterRoles=false")}
    assert not {"ClusterRole", "ClusterRoleBinding"} & found
    assert not {"Role", "RoleBinding"} & {manifest["kind"] for manifest in rendered("--set=rbac.create=false")}


def test_each_database_node_learns_its_own_zone() -> None:
    nodes = named(
        rendered("--set=cockroachdb.localityLabels={topology.kubernetes.io/zone}"), "StatefulSet", "energy-cockroachdb"
    )
    spec = nodes["spec"]["template"]["spec"]
    assert "--locality-file=/locality/locality" in spec["containers"][0]["args"]
    assert spec["initContainers"][0]["args"][-1] == "topology.kubernetes.io/zone"


def test_a_restarted_database_node_catches_up_before_the_next() -> None:
    assert named(rendered(), "StatefulSet", "energy-cockroachdb")["spec"]["minReadySeconds"] == 60


def test_nobody_but_the_owner_may_create_tables() -> None:
    sql = named(rendered(), "ConfigMap", "energy-scripts")["data"]["database.sql"]
    assert "REVOKE CREATE ON SCHEMA public FROM public;" in sql


def test_the_service_listens_where_ipv6_is_all_there_is() -> None:
    spec = named(rendered("--set=app.listenAddress=::"), "Deployment", "energy")["spec"]["template"]["spec"]
    assert {"name": "ENERGY_HOST", "value": "::"} in spec["containers"][0]["env"]


def test_a_long_migration_is_no_failed_rollout() -> None:
    deployment = named(rendered("--set=migrations.activeDeadlineSeconds=7200"), "Deployment", "energy")
    assert deployment["spec"]["progressDeadlineSeconds"] > 7200


def test_plain_kubectl_finds_its_namespace_and_leaves_the_crd_to_itself() -> None:
    k8s = Path(__file__).parents[2] / "k8s"
    for profile in ("default", "external-db"):
        listed = yaml.safe_load((k8s / profile / "kustomization.yaml").read_text())["resources"]
        found = [m for name in listed for m in yaml.safe_load_all((k8s / profile / name).read_text())]
        assert "Namespace" in {manifest["kind"] for manifest in found}
        assert "CustomResourceDefinition" not in {manifest["kind"] for manifest in found}
    assert (k8s / "crd" / "kustomization.yaml").is_file()


def test_each_host_can_have_a_certificate_of_its_own() -> None:
    hosts = ("--set=ingress.enabled=true", "--set=ingress.hosts={a.example,b.example}")
    own = (
        "--set=ingress.tls[0].secretName=a",
        "--set=ingress.tls[0].hosts={a.example}",
        "--set=ingress.tls[1].secretName=all",
    )
    assert named(rendered(*hosts, *own), "Ingress", "energy")["spec"]["tls"] == [
        {"secretName": "a", "hosts": ["a.example"]}, {"secretName": "all", "hosts": ["a.example", "b.example"]},
    ]  # fmt: skip
    assert "tls" not in named(rendered(*hosts), "Ingress", "energy")["spec"]


def test_a_route_attaches_to_the_listener_that_has_its_certificate() -> None:
    words = (
        "--set=httpRoute.enabled=true",
        "--set=httpRoute.parentRefs[0].name=public",
        "--set=httpRoute.parentRefs[0].sectionName=readings",
    )
    assert named(rendered(*words), "HTTPRoute", "energy")["spec"]["parentRefs"] == [
        {"name": "public", "sectionName": "readings"}
    ]


def test_ones_own_issuer_signs_cockroachdbs_certificates() -> None:
    manifests = rendered(
        CERT_MANAGER, "--set=cockroachdb.tls.issuerRef.name=ours", "--set=cockroachdb.tls.issuerRef.kind=ClusterIssuer"
    )
    certificates = kinds(manifests, "Certificate")
    assert {found["metadata"]["name"].rpartition("-")[2] for found in certificates} == {"node", "root", "owner", "app"}
    assert all(found["spec"]["issuerRef"] == {"name": "ours", "kind": "ClusterIssuer"} for found in certificates)
    assert kinds(manifests, "Issuer") == []


def test_objects_of_ones_own_come_with_the_release() -> None:
    own = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ include \\"energy.fullname\\" . }}-own"},"data":{"a":"b"}}'
    assert named(rendered(f"--set-json=extraObjects=[{own}]"), "ConfigMap", "energy-own")["data"] == {"a": "b"}
