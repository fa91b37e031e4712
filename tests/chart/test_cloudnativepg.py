"""PostgreSQL as CloudNativePG's Cluster, as the chart renders it."""

import re
from typing import Any

import pytest

from chart.test_elsewhere import containers, named, pods, policy, rendered
from chart.test_rendered import kinds
from tools.render import CHART, KUBERNETES, HelmError, helm

pytestmark = pytest.mark.cluster  # for Helm itself
KIND = "--set=database.kind=cloudnativepg"
BACKUP = ("--set=cloudnativepg.backup.objectStore.destinationPath=s3://energy/",)
RESTORED = (*BACKUP, "--set=cloudnativepg.backup.restoreFrom=first", "--set=cloudnativepg.backup.serverName=second")
both_helms = pytest.mark.parametrize("version", [3, 4])


def spec(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = named(rendered(KIND, *words), "Cluster", "energy-postgresql")["spec"]
    return found


def environment(kind: str, name: str, *words: str) -> dict[str, dict[str, Any]]:
    """Of the pod's last container, the one that speaks to the database."""
    made = (found for found in rendered(KIND, *words) if found["kind"] == kind)
    pod = next(found for found in made if found["metadata"]["name"].startswith(name))["spec"]["template"]["spec"]
    return {variable["name"]: variable for variable in pod["containers"][-1]["env"]}


@pytest.mark.parametrize(
    ("words", "path", "expected"),
    [
        ((), "instances", 3),
        ((), "imageName", "ghcr.io/cloudnative-pg/postgresql:18.1-system-trixie"),
        (("--set=global.imageRegistry=r.example",), "imageName", "r.example/ghcr.io/cloudnative-pg/postgresql:18.1-system-trixie"),
        (("--set=imagePullSecrets={mine}",), "imagePullSecrets", [{"name": "mine"}]),
        ((), "postgresql.synchronous", {"method": "any", "number": 1, "dataDurability": "required", "failoverQuorum": True}),
        (("--set=cloudnativepg.instances=5",), "postgresql.synchronous.number", 2),
        (("--set=cloudnativepg.instances=1",), "postgresql.synchronous", None),
        ((), "postgresql.parameters.max_connections", "115"),
        (("--set=cloudnativepg.parameters.work_mem=8MB",), "postgresql.parameters.work_mem", "8MB"),
        ((), "postgresql.pg_hba", ["hostnossl all all all reject"]),
        ((), "enablePDB", True),
        (("--set=cloudnativepg.instances=1",), "enablePDB", False),
        ((), "affinity.podAntiAffinityType", "preferred"),
        (("--set=cloudnativepg.spread=DoNotSchedule",), "affinity.podAntiAffinityType", "required"),
        ((), "smartShutdownTimeout", 10),
        (("--set=cloudnativepg.storage.className=fast",), "storage", {"size": "100Gi", "storageClass": "fast"}),
        ((), "bootstrap.initdb.owner", "energy_owner"),
        (("--set=cloudnativepg.spec.bootstrap.recovery.source=old",), "bootstrap", {"recovery": {"source": "old"}}),
        (("--set=cloudnativepg.spec.switchoverDelay=60",), "switchoverDelay", 60),
        ((), "plugins", None),
        (BACKUP, "plugins.0.parameters", {"barmanObjectName": "energy-postgresql", "serverName": "energy-postgresql"}),
        (RESTORED, "plugins.0.parameters.serverName", "second"),
        (RESTORED, "externalClusters.0.plugin.parameters", {"barmanObjectName": "energy-postgresql", "serverName": "first"}),
        (RESTORED, "bootstrap", {"recovery": {"source": "copy", "database": "energy", "owner": "energy_owner"}}),
        ((*RESTORED, "--set=cloudnativepg.spec.bootstrap.recovery.recoveryTarget.targetTime=2026-11-25"),
         "bootstrap.recovery.recoveryTarget", {"targetTime": "2026-11-25"}),
    ],
)  # fmt: skip
def test_the_cluster_is_asked_for_what_the_values_say(words: tuple[str, ...], path: str, expected: object) -> None:
    found: Any = spec(*words)
    for step in path.split("."):
        found = found[int(step)] if step.isdigit() else (found or {}).get(step)
    assert found == expected


def test_an_uninstall_leaves_the_readings() -> None:
    cluster = named(rendered(KIND), "Cluster", "energy-postgresql")
    assert cluster["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_nothing_of_cockroachdb_is_left() -> None:
    names = {f"{found['kind']}/{found['metadata']['name']}" for found in rendered(KIND)}
    assert {name for name in names if "cockroachdb" in name} == set()


def test_the_service_writes_to_the_primary_and_reads_from_a_standby_over_verified_tls() -> None:
    found = environment("Deployment", "energy")
    for name, host in (("ENERGY_DATABASE_URL", "rw"), ("ENERGY_DATABASE_READ_URL", "ro")):
        assert found[name]["value"] == (
            f"postgresql://energy:$(DATABASE_PASSWORD)@energy-postgresql-{host}:5432/energy"
            "?sslmode=verify-full&sslrootcert=/etc/energy/database/ca.crt"
        )
    assert "ENERGY_DATABASE_READ_URL" not in environment("Deployment", "energy", "--set=cloudnativepg.instances=1")


def test_a_password_stands_before_the_url_that_it_is_part_of() -> None:
    names = list(environment("Deployment", "energy"))
    assert names.index("DATABASE_PASSWORD") < min(i for i, name in enumerate(names) if name.endswith("_URL"))


def test_migrations_are_the_owners_and_the_service_only_reads_and_writes_rows() -> None:
    secrets = {}
    for party, found in (
        ("service", environment("Deployment", "energy")),
        ("owner", environment("Job", "energy-migrate")),
    ):
        secrets[party] = found["DATABASE_PASSWORD"]["valueFrom"]["secretKeyRef"]["name"]
    assert secrets == {"service": "energy-postgresql-service", "owner": "energy-postgresql-app"}
    assert environment("Job", "energy-migrate")["ENERGY_DATABASE_URL"]["value"].startswith("postgresql://energy_owner:")
    assert spec()["managed"]["roles"] == [
        {"name": "energy", "ensure": "present", "login": True, "passwordSecret": {"name": "energy-postgresql-service"}}
    ]
    assert all("GRANT SELECT, INSERT, UPDATE, DELETE" in sql or sql == "CREATE ROLE energy LOGIN"
               for sql in spec()["bootstrap"]["initdb"]["postInitApplicationSQL"])  # fmt: skip


def test_the_services_password_is_filled_by_the_migration_job_and_reloaded() -> None:
    secret = named(rendered(KIND), "Secret", "energy-postgresql-service")
    assert "data" not in secret
    assert secret["metadata"]["labels"]["cnpg.io/reload"] == "true"
    (fills,) = [container for name, _, pod in pods(KIND) if name.startswith("Job/energy-migrate")
                for container in containers(pod) if container["name"] == "password"]  # fmt: skip
    assert fills["args"][-3:] == ["password", "energy-postgresql-service", "energy"]
    assert "energy-postgresql-service" in named(rendered(KIND), "Role", "energy-migrate")["rules"][0]["resourceNames"]


def test_only_the_authoritys_certificate_is_mounted_not_its_key() -> None:
    pod = named(rendered(KIND), "Deployment", "energy")["spec"]["template"]["spec"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "database"]
    assert volume["secret"]["secretName"] == "energy-postgresql-ca"
    assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def reachable(rules: list[dict[str, Any]], side: str) -> set[tuple[int | str, str]]:
    """(port, who) of a policy's rules; without a peer everybody."""
    found = set()
    for rule in rules:
        for port in rule["ports"]:
            for peer in rule.get(side, [{"everybody": {}}]):
                labels = next(iter(peer.values())).get("matchLabels", {"": "everybody"})
                found.add((port["port"], str(list(labels.values())[-1])))
    return found


def test_policies_let_in_and_out_what_postgresql_needs_and_nothing_else() -> None:
    database = policy("postgresql", KIND, *BACKUP)
    assert database["podSelector"] == {"matchLabels": {"cnpg.io/cluster": "energy-postgresql"}}
    assert reachable(database["ingress"], "from") == {
        (5432, "app"), (5432, "migrate"), (5432, "energy-postgresql"), (8000, "energy-postgresql"),
        (5432, "cnpg-system"), (8000, "cnpg-system"), ("metrics", "everybody"),
    }  # fmt: skip
    ports = {53, 5353, 443, 6443}
    assert reachable(database["egress"], "to") == {
        (5432, "energy-postgresql"), (8000, "energy-postgresql"), *((port, "everybody") for port in ports),
    }  # fmt: skip


@pytest.mark.parametrize("component", ["app", "migrate"])
def test_policies_let_the_service_and_its_migrations_reach_postgresql(component: str) -> None:
    assert (5432, "energy-postgresql") in reachable(policy(component, KIND)["egress"], "to")
    assert (26257, "everybody") not in reachable(policy(component, KIND)["egress"], "to")


def test_the_object_stores_port_is_open_when_there_is_one() -> None:
    store = (*BACKUP, "--set=cloudnativepg.backup.objectStore.endpointURL=https://objects.example.org:9000")
    assert (9000, "everybody") in reachable(policy("postgresql", KIND, *store)["egress"], "to")
    assert (9000, "everybody") not in reachable(policy("postgresql", KIND)["egress"], "to")


def test_a_backup_is_an_object_store_and_a_schedule_for_the_same_cluster() -> None:
    manifests = rendered(KIND, *BACKUP)
    assert named(manifests, "ObjectStore", "energy-postgresql")["spec"]["retentionPolicy"] == "30d"
    scheduled = named(manifests, "ScheduledBackup", "energy-postgresql")["spec"]
    assert (scheduled["cluster"], scheduled["method"]) == ({"name": "energy-postgresql"}, "plugin")
    assert len(scheduled["schedule"].split()) == 6
    assert kinds(rendered(KIND), "ScheduledBackup") == []


def test_postgresqls_pods_are_scraped_under_the_name_that_its_alerts_know() -> None:
    manifests = rendered(KIND, "--set=monitoring.podMonitor.enabled=true", "--set=monitoring.rules.enabled=true")
    monitor = named(manifests, "PodMonitor", "energy-postgresql")["spec"]
    assert monitor["selector"] == {"matchLabels": {"cnpg.io/cluster": "energy-postgresql"}}
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/metrics")
    (rules,) = kinds(manifests, "PrometheusRule")
    groups = {group["name"]: group["rules"] for group in rules["spec"]["groups"]}
    assert groups.keys() == {"energy.energy", "energy.postgresql", "energy.prescaler"}
    assert all(re.search('job="energy-postgresql",namespace="energy"|persistentvolumeclaim=~"energy-postgresql', rule["expr"])
               for rule in groups["energy.postgresql"])  # fmt: skip


@both_helms
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((KIND,), "no postgresql.cnpg.io/v1. Install CloudNativePG's operator first"),
        (
            (KIND, *BACKUP, "--api-versions=postgresql.cnpg.io/v1"),
            "no barmancloud.cnpg.io/v1. Install the plugin first",
        ),
        (
            (KIND, "--set=cloudnativepg.backup.restoreFrom=first", "--api-versions=postgresql.cnpg.io/v1"),
            "restoreFrom needs cloudnativepg.backup.objectStore",
        ),
        (
            (
                KIND,
                *BACKUP,
                "--set=cloudnativepg.backup.restoreFrom=energy-postgresql",
                "--api-versions=postgresql.cnpg.io/v1",
                "--api-versions=barmancloud.cnpg.io/v1",
            ),
            'would write its WAL among the copy\'s, "energy-postgresql"',
        ),
    ],
    ids=["no operator", "no backup plugin", "no place of the copy", "a copy that would be written over"],
)
def test_a_database_that_could_not_begin_is_refused_in_a_sentence(
    words: tuple[str, ...], says: str, version: int
) -> None:
    with pytest.raises(HelmError, match=re.escape(says)):
        helm("template", "energy", str(CHART), f"--kube-version={KUBERNETES}", *words, version=version)


@both_helms
@pytest.mark.parametrize("kind", ["cockroachdb", "cloudnativepg", "external"])
def test_each_kind_of_database_renders_with_both_helms(kind: str, version: int) -> None:
    words = [f"--set=database.kind={kind}", "--api-versions=postgresql.cnpg.io/v1", f"--kube-version={KUBERNETES}"]
    if kind == "external":
        words.append("--set=database.external.existingSecret=db")
    manifests = helm("template", "energy", str(CHART), *words, version=version)
    assert ("kind: StatefulSet" in manifests) == (kind == "cockroachdb")
    assert ("kind: Cluster\n" in manifests) == (kind == "cloudnativepg")
