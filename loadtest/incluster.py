"""The same run with k6 inside the cluster: the chart's Job sends, its log is the ledger, the lab watches and judges.

Expects an installed release and a kubectl and helm that reach it; the chart brings the scripts.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from loadtest.ledger import COLUMNS
from loadtest.runner import Target, console
from loadtest.settings import setting

CHART = Path(__file__).parents[1] / "helm" / "energy"
START_TIMEOUT_S = 120
FOR_THE_JOB = {
    "LOAD_API", "LOAD_RATE", "LOAD_DURATION_S", "LOAD_P99_MS", "LOAD_VUS_MAX", "LOAD_FAILED_MAX", "LOAD_REUSE_CONNECTIONS",
    "LOAD_SPIKE_FACTOR", "LOAD_SPIKE_HOLD_S", "LOAD_READ_RATE", "LOAD_BATCH_ROWS", "LOAD_BATCH_CLIENTS", "LOAD_CLIENTS",
    "LOAD_MONTH", "LOAD_TEST", "LOAD_BURST", "LOAD_BURST_SECONDS", "LOAD_BURST_API",
}  # fmt: skip


def drive(scenario: str, _target: Target, folder: Path, settings: dict[str, str], run_id: str, _api: str) -> int:
    """Installs the Job, follows its log until it ends; returns 0, or 99 when k6 said that a threshold was missed."""
    namespace, release = setting("LOAD_NAMESPACE"), setting("LOAD_RELEASE")
    values = {
        "load": {
            "enabled": True,
            "script": f"{scenario}.js",
            "env": settings
            | {"LOAD_RUN": run_id, "LOAD_LEDGER": "on", "LOAD_SUMMARY_FILE": "stdout", "K6_LOG_FORMAT": "raw"},
        }
    }
    (folder / "values.json").write_text(json.dumps(values))
    here = ["--namespace", namespace]
    subprocess.run(
        ["helm", "upgrade", release, CHART, *here, "--reuse-values", "--values", folder / "values.json"], check=True
    )
    job = _job_of(namespace, run_id)
    console.print(f"job/{job} in {namespace}")
    _kubectl("wait", "--for=jsonpath={.status.ready}=1", f"job/{job}", *here, f"--timeout={START_TIMEOUT_S}s")
    follow = ["kubectl", "logs", "--follow", "--pod-running-timeout=60s", f"job/{job}", *here]
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
    state = json.loads(_kubectl("get", "pods", "-l", f"job-name={job}", "-o", "json", *here))["items"][0]["status"]
    ended = state["containerStatuses"][0]["state"].get("terminated")
    return int(ended["exitCode"]) if ended else 0


def _job_of(namespace: str, run_id: str) -> str:
    for job in json.loads(_kubectl("get", "jobs", "-o", "json", "--namespace", namespace))["items"]:
        environment = job["spec"]["template"]["spec"]["containers"][0].get("env", [])
        if {"name": "LOAD_RUN", "value": run_id} in environment:
            return str(job["metadata"]["name"])
    raise LookupError(f"the chart made no load Job in {namespace}")


def _kubectl(*words: str) -> str:
    return subprocess.run(["kubectl", *words], check=True, capture_output=True, text=True).stdout
