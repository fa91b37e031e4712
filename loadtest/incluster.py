"""The same run with k6 inside the cluster: the chart's Job sends, its log is the ledger, the lab watches and judges.

Expects an installed release and a kubectl and helm that reach it; the chart brings the scripts.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from loadtest import commands
from loadtest.commands import CommandError
from loadtest.ledger import COLUMNS
from loadtest.runner import K6, Target, console
from loadtest.settings import setting
from tools.cluster.images import write_archive

CHART = Path(__file__).parents[1] / "helm" / "energy"
HELM = "HELM"  # the variable that names the program, for a machine without one on its PATH
START_TIMEOUT_S = 120.0
END_TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.5
FOR_THE_JOB = {
    "LOAD_API", "LOAD_RATE", "LOAD_DURATION_S", "LOAD_P99_MS", "LOAD_VUS_MAX", "LOAD_FAILED_MAX", "LOAD_REUSE_CONNECTIONS",
    "LOAD_SPIKE_FACTOR", "LOAD_SPIKE_HOLD_S", "LOAD_READ_RATE", "LOAD_BATCH_ROWS", "LOAD_BATCH_CLIENTS", "LOAD_CLIENTS",
    "LOAD_MONTH", "LOAD_TEST", "LOAD_BURST", "LOAD_BURST_SECONDS", "LOAD_BURST_API",
}  # fmt: skip
_STILL_STARTING = {"ContainerCreating", "PodInitializing"}


def image(archive: Path) -> Path:
    """The k6 of this environment, a static program, as the image that LOAD_IMAGE names."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    write_archive(archive, setting("LOAD_IMAGE"), Path(K6))
    return archive


def drive(scenario: str, _target: Target, folder: Path, settings: dict[str, str], run_id: str, _api: str) -> int:
    """Installs the Job, follows its log until it ends; returns 0, or 99 when k6 said that a threshold was missed."""
    namespace = setting("LOAD_NAMESPACE")
    _install(scenario, namespace, folder, settings, run_id)
    job = _job_of(namespace, run_id)
    console.print(f"job/{job} in {namespace}")
    _wait_started(namespace, job)
    follow = ["kubectl", "logs", "--follow", f"job/{job}", "--namespace", namespace]
    with (
        subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as log,
        (folder / "ledger.log").open("w", buffering=1) as out,
    ):
        for line in log.stdout or ():
            if line.startswith("summary {"):
                (folder / "k6.json").write_text(line.removeprefix("summary "))
            elif len(line.split()) == len(COLUMNS) and line[0].isdigit():
                out.write(line)
            else:
                print(line, end="")
    return _exit_code(namespace, job)


def _install(scenario: str, namespace: str, folder: Path, settings: dict[str, str], run_id: str) -> None:
    run = {"LOAD_RUN": run_id, "LOAD_LEDGER": "on", "LOAD_SUMMARY_FILE": "stdout", "K6_LOG_FORMAT": "raw"}
    load: dict[str, Any] = {"enabled": True, "script": f"{scenario}.js", "env": settings | run}
    if name := setting("LOAD_IMAGE"):
        repository, _, tag = name.rpartition(":")
        load["image"] = {"repository": repository, "tag": tag, "pullPolicy": "Never"}
    values = folder / "values.json"
    values.write_text(json.dumps({"load": load}))
    helm, release = os.environ.get(HELM) or "helm", setting("LOAD_RELEASE")
    here = ("--namespace", namespace, "--reuse-values", "--values", values)
    commands.run(helm, "upgrade", release, CHART, *here)


def _job_of(namespace: str, run_id: str) -> str:
    for job in _get("jobs", namespace):
        environment = job["spec"]["template"]["spec"]["containers"][0].get("env", [])
        if {"name": "LOAD_RUN", "value": run_id} in environment:
            return str(job["metadata"]["name"])
    raise CommandError(f"the chart made no load Job in namespace {namespace}")


def _wait_started(namespace: str, job: str) -> None:
    """Returns when k6 runs or has run; a pod that can't start fails with its own reason, at once where it is final."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        pod = _pod_of(namespace, job)
        if pod and pod["status"].get("phase") in ("Running", "Succeeded", "Failed"):
            return
        why, final = _reason(pod) if pod else (_why_no_pod(namespace, job), False)
        if final or time.monotonic() > deadline:
            raise CommandError(f"job/{job} in namespace {namespace} does not start: {why}")
        time.sleep(LOOK_EVERY_S)


def _reason(pod: dict[str, Any]) -> tuple[str, bool]:
    """What keeps a pod from running, and whether waiting longer can't help."""
    for container in pod["status"].get("containerStatuses", []):
        waiting = container["state"].get("waiting", {})
        if waiting:
            said = f"{waiting['reason']}: {waiting.get('message', 'no message')}"
            return said, waiting["reason"] not in _STILL_STARTING
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason')}: {condition.get('message')}", False
    return f"its pod is {pod['status'].get('phase', 'unknown')}", False


def _why_no_pod(namespace: str, job: str) -> str:
    """A Job without a pod says why in its events: a quota, a policy, a missing account."""
    said = [
        e["message"] for e in _get("events", namespace) if e["involvedObject"].get("name") == job and e.get("message")
    ]
    return said[-1] if said else "it has no pod yet"


def _exit_code(namespace: str, job: str) -> int:
    """k6's own; the log may end a moment before the kubelet has told."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while time.monotonic() < deadline:
        pod = _pod_of(namespace, job)
        if not pod:
            raise CommandError(f"the pod of job/{job} in namespace {namespace} is gone, and k6's exit code with it")
        ended = pod["status"]["containerStatuses"][0]["state"].get("terminated")
        if ended:
            return int(ended["exitCode"])
        time.sleep(LOOK_EVERY_S)
    raise CommandError(f"the log of job/{job} in namespace {namespace} ended, but its pod runs on")


def _pod_of(namespace: str, job: str) -> dict[str, Any] | None:
    return next(iter(_get("pods", namespace, "--selector", f"job-name={job}")), None)


def _get(kind: str, namespace: str, *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        commands.run("kubectl", "get", kind, "--namespace", namespace, "-o", "json", *more)
    )["items"]
    return found
