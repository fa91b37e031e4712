"""What the chart renders from each of its ci/ values, judged without a cluster by the tools that people judge charts with."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.cluster.binaries import program
from tools.render import CHART, ROOT, helm, template, write

pytestmark = pytest.mark.cluster  # for the tools that are built once with the test cluster
CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
# Pinned images need no pulling while a registry is down; a CPU limit would show as latency and never as safety.
KUBE_SCORE = ("--ignore-test=container-image-pull-policy", "--ignore-container-cpu-limit", "--output-format=ci")
BY_AN_OPERATOR = "[CRITICAL] energy-postgresql networking.k8s.io/v1/NetworkPolicy: The NetworkPolicys selector doesn't match any pods"

every_profile = pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.name.removesuffix("-values.yaml"))


def documents(*words: str) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(template(*words)) if found]


def kinds(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


@every_profile
@pytest.mark.parametrize("version", [3, 4])
def test_lints_without_a_warning(values: Path, version: int) -> None:
    said = helm("lint", str(CHART), "--strict", f"--values={values}", version=version)
    assert "0 chart(s) failed" in said
    assert "WARNING" not in said


@every_profile
def test_both_helms_render_the_same(values: Path) -> None:
    three, four = (list(yaml.safe_load_all(template(f"--values={values}", version=version))) for version in (3, 4))
    assert sorted(map(repr, three)) == sorted(map(repr, four))


@every_profile
def test_rendering_twice_gives_the_same(values: Path) -> None:
    assert template(f"--values={values}") == template(f"--values={values}")


@every_profile
def test_kube_score_finds_nothing_critical(values: Path) -> None:
    manifests = template(f"--values={values}")
    answer = subprocess.run(
        [program("kube-score"), "score", "-", *KUBE_SCORE], input=manifests, capture_output=True, text=True, check=False
    )
    found = [line for line in answer.stdout.splitlines() if "[CRITICAL]" in line and line != BY_AN_OPERATOR]
    assert found == []
    assert "[OK]" in answer.stdout


def test_what_is_made_from_the_chart_is_up_to_date(tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(ROOT / "helm"), str(tmp_path / "helm")], check=True)
    write(tmp_path)
    for folder in ("helm", "k8s"):
        drift = subprocess.run(
            ["diff", "-r", "-q", str(ROOT / folder), str(tmp_path / folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert drift.stdout == "", "run `make render` and commit what it writes"


def test_packing_the_chart_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    def packed(name: str) -> bytes:
        copy = tmp_path / name
        copy.mkdir()
        for part in ("helm", "make", "Makefile"):
            subprocess.run(["cp", "-r", str(ROOT / part), str(copy / part)], check=True)
        subprocess.run(["make", "-s", "-C", str(copy), "package"], check=True)
        return next((copy / "build").glob("energy-*.tgz")).read_bytes()

    assert packed("once") == packed("again")
    assert "0 chart(s) failed" in helm("lint", str(next((tmp_path / "once" / "build").glob("*.tgz"))))


def test_no_manifest_holds_a_key_or_password() -> None:
    for values in CI_VALUES:
        for secret in kinds(documents(f"--values={values}"), "Secret"):
            assert not {"data", "stringData"} & secret.keys(), secret["metadata"]["name"]


def test_no_replicas_are_rendered_while_an_hpa_sets_them() -> None:
    deployment = next(d for d in kinds(documents(), "Deployment") if d["metadata"]["name"] == "energy")
    assert "replicas" not in deployment["spec"]


def test_the_operator_owns_the_minimum_of_the_hpa() -> None:
    (with_window,) = kinds(documents(), "HorizontalPodAutoscaler")
    (without,) = kinds(documents("--set=operator.enabled=false"), "HorizontalPodAutoscaler")
    assert "minReplicas" not in with_window["spec"]
    assert without["spec"]["minReplicas"] == 2


def test_a_new_image_makes_a_new_migration_job_and_the_same_one_does_not() -> None:
    def job(*words: str) -> str:
        names = [str(j["metadata"]["name"]) for j in kinds(documents(*words), "Job")]
        return next(name for name in names if "-migrate-" in name)

    assert job() == job("--set=service.port=81")
    assert job() != job("--set=app.image.tag=0.2.0")


def test_only_the_parts_that_speak_to_the_api_server_mount_a_token() -> None:
    holders = set()
    for manifest in documents():
        pod = pod_of(manifest)
        if pod is None:
            continue
        assert pod["automountServiceAccountToken"] is False
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            if any(mount["name"] == "token" for mount in container.get("volumeMounts", [])):
                holders.add((manifest["kind"], container["name"]))
    assert holders == {
        ("Deployment", "operator"), ("Job", "admin-key"), ("Job", "release"), ("Job", "write"), ("CronJob", "write"),
    }  # fmt: skip


def test_large_numbers_reach_the_service_as_numbers() -> None:
    deployment = next(d for d in kinds(documents(f"--values={CHART / 'ci/ha-values.yaml'}"), "Deployment"))
    environment = {e["name"]: e.get("value") for e in pod_of(deployment)["containers"][0]["env"]}  # type: ignore[index]
    assert environment["ENERGY_BATCH_BODY_BYTES_MAX"] == "134217728"


def test_every_object_of_the_schema_that_is_ours_is_closed() -> None:
    free = {
        "labels", "affinity", "behavior", "annotations", "podAnnotations", "nodeSelector", "metrics", "prometheus",
        "requests", "limits", "env", "global", "items", "alertLabels", "podLabels", "podSecurityContext", "securityContext",
        "podSelector", "namespaceSelector", "ipBlock", "clusterSettings", "parameters", "objectStore", "spec",
    }  # fmt: skip

    def walk(name: str, schema: dict[str, Any]) -> None:
        if schema.get("type") == "object" and name not in free:
            assert schema["additionalProperties"] is False, name
        for child, inner in schema.get("properties", {}).items():
            walk(child, inner)

    walk("values", json.loads((CHART / "values.schema.json").read_text()))


def test_every_value_is_in_the_schema_with_a_description_where_it_has_one() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert (
        schema["properties"].keys() - {"global", "enabled"}
        == yaml.safe_load((CHART / "values.yaml").read_text()).keys()
    )
    assert schema["properties"]["cockroachdb"]["properties"]["cache"]["description"]


SITE = "https://docs.example/runbooks/%s/"


def alerts(*words: str) -> list[dict[str, Any]]:
    (rules,) = kinds(documents(f"--values={CHART / 'ci/ha-values.yaml'}", *words), "PrometheusRule")
    return [rule for group in rules["spec"]["groups"] for rule in group["rules"]]


def test_every_alert_names_its_runbook_in_this_repository() -> None:
    assert [alert["alert"] for alert in alerts() if not (ROOT / alert["annotations"]["runbook"]).is_file()] == []
    assert {alert["annotations"].get("runbook_url") for alert in alerts()} == {None}, "nobody's address"


def test_where_runbooks_are_published_every_alert_has_the_address() -> None:
    urls = {
        alert["alert"]: alert["annotations"]["runbook_url"]
        for alert in alerts(f"--set=monitoring.rules.runbookUrl={SITE}")
    }
    assert urls == {name: f"https://docs.example/runbooks/{name}/" for name in urls} != {}


def pod_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The pod that a manifest makes, if it makes one."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Pod":
        found: dict[str, Any] = spec
        return found
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template_of = spec.get("template") if isinstance(spec, dict) else None
    if not template_of:
        return None
    claimed = [{"name": claim["metadata"]["name"], "emptyDir": {}} for claim in spec.get("volumeClaimTemplates", [])]
    pod: dict[str, Any] = template_of["spec"]
    return pod | {"volumes": [*pod.get("volumes", []), *claimed]}
