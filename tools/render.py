"""Writes what is made from the chart: its README, the copies it carries, and k8s/. `make render` runs it; a test compares.

Helm can't read outside a chart, so the CRD and the load scripts are copied in; their sources stay with their owners.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.cluster.binaries import program

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "energy"
PROFILES = {"default": "default", "external-db": "external-db"}  # folder of k8s/ → values file of ci/
KUBERNETES = "1.34.4"
KUSTOMIZATION = """\
# Rendered from helm/energy by `make render`; `kubectl apply --server-side -k .` installs it. Change the chart, not this.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: energy
resources: [manifests.yaml]
"""


class HelmError(RuntimeError):
    """Helm refused; the message is what it said."""


def helm(*words: str, version: int = 4) -> str:
    answer = subprocess.run([program(f"helm-v{version}"), *words], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise HelmError(answer.stderr + answer.stdout)
    return answer.stdout


def template(*words: str, version: int = 4) -> str:
    return helm(
        "template", "energy", str(CHART), "--namespace=energy", f"--kube-version={KUBERNETES}", *words, version=version
    )


def write(root: Path) -> None:
    """Writes everything below `root`, which may be the repository or a copy of its chart."""
    chart = root / "helm" / "energy"
    for source, copy in copies():
        target = chart / "files" / copy
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    subprocess.run(
        [program("helm-docs"), "--chart-search-root", chart, "--sort-values-order=file", "--skip-version-footer"],
        check=True, capture_output=True,
    )  # fmt: skip
    for folder, values in PROFILES.items():
        target = root / "k8s" / folder
        target.mkdir(parents=True, exist_ok=True)
        (target / "kustomization.yaml").write_text(KUSTOMIZATION)
        manifests = helm(
            "template", "energy", str(chart), "--namespace=energy", f"--kube-version={KUBERNETES}",
            f"--values={chart / 'ci' / f'{values}-values.yaml'}", "--no-hooks", "--skip-tests",
        )  # fmt: skip
        (target / "manifests.yaml").write_text(manifests)


def copies() -> Iterator[tuple[Path, str]]:
    """Each file that the chart carries a copy of, and the copy's name below `files/`."""
    yield ROOT / "operator/src/prescaler/crd.yaml", "crd.yaml"
    alerts = ROOT / "operator/src/prescaler/alerts.yaml"
    if alerts.exists():
        yield alerts, "alerts/prescaler.yaml"
    for source in sorted([*(ROOT / "loadtest/k6").glob("*.js"), ROOT / "loadtest/k6/settings.json"]):
        yield source, f"loadtest/{source.name}"


if __name__ == "__main__":
    write(ROOT)
    sys.stdout.write("rendered helm/energy/README.md, its copied files and k8s/\n")
