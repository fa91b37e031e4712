"""The chart's alerts in a real Prometheus that scrapes the real service, while it and its database fail for real.

Time runs sixty times faster: every range and every `for` of the rules is divided by sixty, and scrapes come four times a second.
"""

import json
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import yaml

from chart.test_alerts import rules
from chart.test_elsewhere import EXTERNAL
from energy.server import listening
from fault.proxy import Proxy
from support.fixtures import StartProcess
from support.postgres import TestServer
from support.service import ServiceProcess, client_of
from tools.cluster.binaries import program

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(240)]
SPEED = 60
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PROMISED_S = (
    5 * 60 / SPEED
)  # the slowest critical alert here: a range of five minutes and two minutes' patience begin to add up
CRITICAL = {"EnergyDown", "EnergyFailing", "EnergyDatabaseAway"}


def faster(text: str) -> str:
    """Durations of a rule, in milliseconds."""
    return re.sub(r"\b(\d+)([smhd])\b", lambda found: f"{int(found[1]) * SECONDS[found[2]] * 1000 // SPEED}ms", text)


def accelerated() -> list[dict[str, object]]:
    groups = rules("energy", *EXTERNAL, "--set=operator.enabled=false")
    for rule in (rule for group in groups for rule in group["rules"]):
        rule["expr"] = re.sub(r"\[[^\]]+\]", lambda found: faster(found[0]), rule["expr"])
        if "for" in rule:
            rule["for"] = faster(rule["for"])
    return groups


class Prometheus:
    """A running one; `firing()` is what it would page for."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def ask(self, path: str) -> dict[str, list[dict[str, dict[str, str] | str]]]:
        with urllib.request.urlopen(f"{self._base}/api/v1/{path}", timeout=5) as answer:  # noqa: S310 - this machine
            found: dict[str, list[dict[str, dict[str, str] | str]]] = json.load(answer)["data"]
            return found

    def firing(self) -> set[str]:
        alerts = self.ask("alerts")["alerts"]
        return {str(dict(alert["labels"])["alertname"]) for alert in alerts if alert["state"] == "firing"}  # type: ignore[arg-type]  # a dictionary by its API

    def stays_quiet(self, while_s: float) -> None:
        """What must not come is given its time."""
        until = time.monotonic() + while_s
        while time.monotonic() < until:
            assert self.firing() == set()
            time.sleep(0.1)

    def wait_for(self, wanted: set[str], timeout_s: float = 40.0) -> float:
        """Seconds until exactly these of the critical ones fire."""
        started = time.monotonic()
        while self.firing() & CRITICAL != wanted:
            assert time.monotonic() - started < timeout_s, f"{self.firing()} fire, not {wanted}"
            time.sleep(0.1)
        return time.monotonic() - started


@contextmanager
def prometheus(folder: Path, service: ServiceProcess) -> Iterator[Prometheus]:
    with listening("127.0.0.1", 0) as free:
        port = int(free.getsockname()[1])
    labels = {"job": "energy", "namespace": "energy", "pod": "one"}
    target = f"{service.address[0]}:{service.address[1]}"
    config = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "energy", "static_configs": [{"targets": [target], "labels": labels}]}],
    }
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": accelerated()}))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(
        [program("prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--query.lookback-delta=2s",
         f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stdout=log, stderr=log,
    ) as process:  # fmt: skip
        try:
            running = Prometheus(port)
            ready(running, folder)
            yield running
        finally:
            process.terminate()
            process.wait(20)


def ready(running: Prometheus, folder: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if any(found["health"] == "up" for found in running.ask("targets")["activeTargets"]):
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, (folder / "prometheus.log").read_text()
        time.sleep(0.1)


@contextmanager
def readings(service: ServiceProcess) -> Iterator[None]:
    """A few meters that send all the time, whatever they hear; each waits for its answer."""
    over = threading.Event()

    def meter() -> None:
        with client_of(service) as client:
            while not over.wait(0.2):
                body = {"device_id": str(uuid4()), "reading_id": str(uuid4()), "register": "T0", "value": "1"}
                try:
                    client.post("/v1/readings", json=body)
                except httpx.HTTPError:
                    continue

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(meter)
        try:
            yield
        finally:
            over.set()


def test_the_right_alert_and_no_other_fires_in_time(
    tmp_path: Path, postgres: TestServer, database: str, start_process: StartProcess
) -> None:
    with Proxy(postgres.postgres.data_dir) as proxy:
        service = start_process(database_url=proxy.dsn(database), request_timeout_s=1, queue_age_max_s=1)
        with prometheus(tmp_path, service) as watching, readings(service):
            watching.stays_quiet(PROMISED_S)
            told: dict[str, float] = {}

            proxy.refuse()
            told["database away"] = watching.wait_for({"EnergyDatabaseAway", "EnergyFailing"})
            proxy.heal()
            told["database back"] = watching.wait_for(set())

            service.kill()
            told["service gone"] = watching.wait_for({"EnergyDown"})
    for what, seconds in told.items():
        print(f"{what}: {seconds:.1f} s here, {seconds * SPEED / 60:.1f} min in production's time")  # noqa: T201 - the figures of the run
