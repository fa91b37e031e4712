"""The whole month in one go: a fleet, a quiet start, capacity before the window, the rush, killed pods, and back to quiet.

`make load-story` runs it and leaves the report in build/load. The operator's clock is set to a 15th of January by its own
rehearsal setting; a day of the month takes ten seconds, the window of the BillingWindow lasts two minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.chart.release import EXTERNAL, Release, new_database
from cluster.database import Database
from loadtest import fleet, report, runner
from loadtest.evidence import Evidence
from loadtest.runner import Target
from loadtest.sampler import Cluster as Watched
from tools.cluster import Cluster
from tools.cluster.binaries import program

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]

DAY_S = 10
MONTH_S = 31 * DAY_S
OPENS_S, CLOSES_S = 14 * DAY_S, 26 * DAY_S  # the 15th 00:00 and the 26th 24:00, as month.js plays them
PODS_IN_WINDOW = 4
REHEARSED = datetime(2027, 1, 15, 12, tzinfo=UTC)
RATE = os.environ.get("LOAD_RATE", "120")
SMALL_STEPS = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 5}]}
VALUES = {
    "app": {"resources": {"requests": {"cpu": "200m", "memory": "96Mi"}, "limits": {"memory": "384Mi"}}},
    "autoscaling": {"minReplicas": 1, "maxReplicas": 5, "cpuUtilization": 90, "behavior": {"scaleDown": SMALL_STEPS}},
}


def minutes_ahead() -> timedelta:
    """How far the operator's clock is set ahead: whole minutes, so that its minutes end when ours do."""
    return timedelta(minutes=(REHEARSED - datetime.now(UTC)) // timedelta(minutes=1))


def window(opens: datetime) -> dict[str, object]:
    closes = opens + timedelta(seconds=CLOSES_S - OPENS_S)
    times = {"startTime": f"{opens:%H:%M}", "endTime": f"{closes:%H:%M}"}
    return {
        "timeZones": ["UTC"], "leadTime": "30s", "rampUp": {"duration": "20s", "steps": 2},
        "rampDown": {"duration": "20s", "steps": 2},
        "windows": [{"name": "monthly-billing", "fromDay": 15, "toDay": 15, "minReplicas": PODS_IN_WINDOW, **times}],
    }  # fmt: skip


def test_a_month_with_the_operator_loses_nothing_and_is_ready_when_the_window_opens(
    one_node: Cluster,
    one_node_namespace: str,
    pod_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database_url = new_database(one_node, one_node_namespace, pod_database.url)
    ahead = minutes_ahead()
    far_away = window(REHEARSED + timedelta(hours=8))
    clock = {"operator": {"env": {"PRESCALER_CLOCK_OFFSET": f"{int(ahead.total_seconds() // 60)}m"},
                          "billingWindow": {"spec": far_away}}}  # fmt: skip
    release = Release(one_node, one_node_namespace, tmp_path, EXTERNAL, VALUES, clock)
    release.install()
    month = fleet.month_start("", datetime.now(UTC))
    fleet.generate(
        fleet.FleetPlan(1, meters=20_000, history_months=1, k6_meters=5_000, month=month), tmp_path / "fleet"
    )
    for kind in ("meters", "readings"):
        energy: list[str | Path] = [
            Path(sys.executable).parent / "energy",
            "import",
            kind,
            tmp_path / "fleet" / f"{kind}.csv",
        ]
        subprocess.run(energy, env=os.environ | {"ENERGY_DATABASE_URL": database_url}, check=True)
    monkeypatch.setenv("KUBECONFIG", str(one_node.kubeconfig))
    monkeypatch.setenv("PATH", f"{Path(program('kubectl')).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOAD_API_KEY", release.key())

    opens = _next_minute(datetime.now(UTC) + timedelta(seconds=OPENS_S + 10))
    patch = json.dumps({"spec": window(opens + ahead)})
    one_node.kubectl("patch", "billingwindow", "energy", "-n", one_node_namespace, "--type=merge", "--patch", patch)
    folder = runner.new_folder("story")
    folder.mkdir(parents=True)
    faults = threading.Thread(target=_kill_pods, args=(release, folder, opens), daemon=True)
    faults.start()
    _wait_until(opens - timedelta(seconds=OPENS_S + 1))  # k6 needs a second to begin
    address = f"http://{release.get('service', 'energy')['spec']['clusterIP']}"
    watched = Watched(one_node_namespace, "energy", "app.kubernetes.io/instance=energy,app.kubernetes.io/component=app")
    facts = {"Fleet": "20,000 meters", "Window": "15th to 26th, two minutes", "Pods killed": "3, without grace"}
    settings = {
        "LOAD_DURATION_S": str(MONTH_S), "LOAD_RATE": RATE, "LOAD_BATCH_ROWS": "200", "LOAD_REUSE_CONNECTIONS": "false",
        "LOAD_FAILED_MAX": "0.05", "LOAD_FLEET_FILE": str(tmp_path / "fleet" / "k6.json"),
    }  # fmt: skip
    target = Target((address,), "A billing month with the operator", database_url, watched, facts)
    runner.run("month", target, folder, settings)
    faults.join()
    runner.console.print(f"report: {report.write(folder)}")

    run = Evidence(folder)
    assert run.missing == []
    assert (run.verdict["lost"], run.verdict["duplicated"], run.verdict["stored_though_refused"]) == (0, 0, 0)
    assert run.verdict["acknowledged"] > 1_000
    at, ready = run.series("ready")
    opened = next(at_s for at_s, what in run.events if what == "window opens")
    assert ready[at <= opened][-1] >= PODS_IN_WINDOW, "all pods Ready when the window opens"
    assert ready[0] == ready[-1] == 1, "quiet before, quiet after"


def _next_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _wait_until(moment: datetime) -> None:
    while datetime.now(UTC) < moment:
        time.sleep(0.05)


def _kill_pods(release: Release, folder: Path, opens: datetime) -> None:
    """Marks the window's edges, and kills pods in its quiet middle, in its rush and just before its end."""
    closes_s = CLOSES_S - OPENS_S
    plan = [
        (0, "window opens"),
        (45, "pod killed"),
        (95, "pod killed"),
        (113, "pod killed"),
        (closes_s, "window closes"),
    ]
    with (folder / "events.jsonl").open("a", buffering=1) as out:
        for at_s, what in plan:
            _wait_until(opens + timedelta(seconds=at_s))
            out.write(json.dumps({"ms": round(time.time() * 1000), "what": what}) + "\n")
            if what == "pod killed":
                victim = release.ready_pods()[0]
                release.cluster.kubectl(
                    "delete", "pod", victim, "-n", release.namespace, "--grace-period=0", "--force", "--wait=false"
                )
