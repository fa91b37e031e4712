"""Writes what is made from the chart: its README, the copies it carries, and k8s/. `make render` runs it; a test compares.

Helm can't read outside a chart, so the CRD and the load scripts are copied in; their sources stay with their owners. What the
values' schema says of a BillingWindow's spec is what the CRD says.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from energy.settings import Settings
from tools.cluster.binaries import program

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "energy"
PROFILES = {"default": "default", "external-db": "external-db"}  # folder of k8s/ → values file of ci/
KUBERNETES = "1.34.4"
KUSTOMIZATION = """\
# Rendered from helm/energy by `make render`. Change the chart, not this.
#   kubectl apply --server-side -k k8s/crd && kubectl apply --server-side -k {folder}
# It is for the namespace `energy`, whose name is in certificates and addresses, and for the images energy and energy-prescaler of
# this version. Another namespace or registry: render again, an overlay would miss the names of the Jobs.
#   helm template energy helm/energy --namespace NAME --set app.image.repository=... | kubectl apply --server-side -f -
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
"""
NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: energy
  labels: {pod-security.kubernetes.io/enforce: restricted}
"""
# What a cluster has that runs CloudNativePG with its backup plugin.
APIS = ("--api-versions=postgresql.cnpg.io/v1", "--api-versions=barmancloud.cnpg.io/v1")
SETTINGS_OF_THE_CHART = {
    "host", "port", "workers", "auth", "insecure", "database_url", "database_read_url", "data_dir", "migrate",
    "bootstrap_admin_key",
}  # fmt: skip
THE_CHARTS_OWN = {"targetRef", "baseline"}  # of a BillingWindow's spec


class HelmError(RuntimeError):
    """Helm refused; the message is what it said."""


def helm(*words: str, version: int = 4) -> str:
    answer = subprocess.run([program(f"helm-v{version}"), *words], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise HelmError(answer.stderr + answer.stdout)
    return answer.stdout


def template(*words: str, version: int = 4, release: str = "energy") -> str:
    return helm(
        "template",
        release,
        str(CHART),
        "--namespace=energy",
        f"--kube-version={KUBERNETES}",
        *APIS,
        *words,
        version=version,
    )


def write(root: Path) -> None:
    """Writes everything below `root`, which may be the repository or a copy of its chart."""
    chart = root / "helm" / "energy"
    for source, copy in copies():
        target = chart / copy
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    write_schema(chart)
    subprocess.run(
        [program("helm-docs"), "--chart-search-root", chart, "--sort-values-order=file", "--skip-version-footer"],
        check=True, capture_output=True,
    )  # fmt: skip
    for folder, values in PROFILES.items():
        target = root / "k8s" / folder
        target.mkdir(parents=True, exist_ok=True)
        words = "namespace: energy\nresources: [namespace.yaml, manifests.yaml]\n"
        (target / "kustomization.yaml").write_text(KUSTOMIZATION.format(folder=f"k8s/{folder}") + words)
        (target / "namespace.yaml").write_text(NAMESPACE)
        manifests = helm(
            "template", "energy", str(chart), "--namespace=energy", f"--kube-version={KUBERNETES}",
            f"--values={chart / 'ci' / f'{values}-values.yaml'}", "--no-hooks", "--skip-tests",
        )  # fmt: skip
        (target / "manifests.yaml").write_text(manifests.replace("managed-by: Helm", "managed-by: kubectl"))
    crd = root / "k8s" / "crd"
    crd.mkdir(parents=True, exist_ok=True)
    (crd / "kustomization.yaml").write_text(
        KUSTOMIZATION.format(folder="k8s/default") + "resources: [billingwindows.yaml]\n"
    )
    shutil.copyfile(chart / "crds" / "billingwindows.yaml", crd / "billingwindows.yaml")


def write_schema(chart: Path) -> None:
    """Puts what others define into the values' schema: a BillingWindow's spec, without what the chart sets, and the settings."""
    crd = yaml.safe_load((chart / "crds" / "billingwindows.yaml").read_text())
    spec = _json_schema(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])
    for name in THE_CHARTS_OWN:
        del spec["properties"][name]
    spec["required"] = [name for name in spec["required"] if name not in THE_CHARTS_OWN]
    file = chart / "values.schema.json"
    values = json.loads(file.read_text())
    values["properties"]["operator"]["properties"]["billingWindow"]["properties"]["spec"] = spec
    values["properties"]["app"]["properties"]["settings"]["properties"] = _settings()
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _settings() -> dict[str, Any]:
    """Every setting of the service that isn't the chart's own business, with its limits."""
    whole = Settings.model_json_schema()
    found: dict[str, Any] = {}
    for name, field in sorted(whole["properties"].items()):
        if name in SETTINGS_OF_THE_CHART:
            continue
        known = field | next((choice for choice in field.get("anyOf", []) if choice.get("type") != "null"), {})
        known |= whole.get("$defs", {}).get(str(known.pop("$ref", "")).rpartition("/")[2], {})
        for word in ("anyOf", "default", "title", "writeOnly", "format"):
            known.pop(word, None)
        found[name] = known | {"description": field["description"]}
    return found


def _json_schema(schema: Any) -> Any:
    """An OpenAPI schema of a CRD as a closed JSON schema; rules that only the API server can judge are left to it."""
    if isinstance(schema, list):
        return [_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _json_schema(value) for key, value in schema.items() if not key.startswith("x-kubernetes")}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def copies() -> Iterator[tuple[Path, str]]:
    """Each file that the chart carries a copy of, and the copy's name."""
    yield ROOT / "operator/src/prescaler/crd.yaml", "crds/billingwindows.yaml"
    alerts = ROOT / "operator/src/prescaler/alerts.yaml"
    if alerts.exists():
        yield alerts, "files/alerts/prescaler.yaml"
    for source in sorted([*(ROOT / "loadtest/k6").glob("*.js"), ROOT / "loadtest/k6/settings.json"]):
        yield source, f"files/loadtest/{source.name}"


if __name__ == "__main__":
    write(ROOT)
    sys.stdout.write("rendered helm/energy/README.md, its copied files and k8s/\n")
