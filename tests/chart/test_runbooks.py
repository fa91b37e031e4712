"""What a runbook tells somebody to type is there: kinds, objects and labels of the chart, whichever certificates it uses."""

import re

import pytest

from chart.test_elsewhere import CERT_MANAGER, EXISTING, rendered
from docs.pages import Page, pages

pytestmark = pytest.mark.cluster  # for Helm itself
RUNBOOKS = {name: page for name, page in pages().items() if name.startswith("docs/runbooks/")}
KINDS = {
    "deployment": "Deployment", "deploy": "Deployment", "statefulset": "StatefulSet", "cronjob": "CronJob",
    "hpa": "HorizontalPodAutoscaler", "bw": "BillingWindow", "secret": "Secret", "cluster": "Cluster", "scheduledbackup": "ScheduledBackup",
}  # fmt: skip
PROFILES = {"self-signed": (), "cert-manager": (CERT_MANAGER,), "existing": EXISTING}
ON_POSTGRESQL = (
    "--set=database.kind=cloudnativepg",
    "--set=cloudnativepg.backup.objectStore.destinationPath=s3://energy/",
)


def commands(page: Page) -> list[str]:
    return [span for span in page.spans if span.startswith("kubectl ")]


def missing(command: str, words: tuple[str, ...]) -> set[str]:
    there = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in rendered(*words)}
    components = {manifest["metadata"]["labels"]["app.kubernetes.io/component"] for manifest in rendered(*words)}
    named = re.findall(r"\b([a-z]+)[/ ](energy[a-z-]*)", command)
    wrong = {f"{kind}/{name}" for kind, name in named if kind in KINDS and (KINDS[kind], name) not in there}
    labels = re.findall(r"app\.kubernetes\.io/component=([a-z-]+)", command)
    return wrong | {label for label in labels if label not in components}


@pytest.mark.parametrize("certificates", PROFILES)
@pytest.mark.parametrize("page", RUNBOOKS.values(), ids=RUNBOOKS)
def test_the_objects_that_a_runbook_names_exist(page: Page, certificates: str) -> None:
    words = ON_POSTGRESQL if "/Postgres" in page.name else PROFILES[certificates]
    assert {wrong for command in commands(page) for wrong in missing(command, words)} == set()


def test_an_object_that_is_not_there_is_found() -> None:
    assert missing("kubectl create job --from=cronjob/energy-cockroachdb-renew now", ()) == set()
    assert missing("kubectl create job --from=cronjob/energy-renew now", ()) == {"cronjob/energy-renew"}
    assert missing("kubectl get pods -l app.kubernetes.io/component=database", ()) == {"database"}
