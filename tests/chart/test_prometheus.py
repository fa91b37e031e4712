"""The chart's alerts in a real Prometheus that scrapes the real service, while it and its database fail for real.

Time runs sixty times faster: every range and every `for` of the rules is divided by sixty, and scrapes come twice a second.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from chart.test_alerts import rules
from chart.test_elsewhere import EXTERNAL
from fault.proxy import Proxy
from support.fixtures import StartProcess
from support.postgres import TestServer
from support.prometheus import Prometheus, accelerated, prometheus
from support.service import ServiceProcess, client_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(240)]
SPEED = 60
PROMISED_S = (
    5 * 60 / SPEED
)  # the slowest critical alert here: a range of five minutes and two minutes' patience begin to add up
CRITICAL = {"EnergyDown", "EnergyFailing", "EnergyDatabaseAway"}


@contextmanager
def watched(folder: Path, service: ServiceProcess) -> Iterator[Prometheus]:
    labels = {"job": "energy", "namespace": "energy", "pod": "one"}
    target = f"{service.address[0]}:{service.address[1]}"
    scrapes = [{"job_name": "energy", "static_configs": [{"targets": [target], "labels": labels}]}]
    groups = accelerated(rules("energy", *EXTERNAL, "--set=operator.enabled=false"), SPEED)
    with prometheus(folder, groups, scrapes, "500ms", 1) as running:
        yield running


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
        with watched(tmp_path, service) as watching, readings(service):
            watching.stays_quiet(PROMISED_S)
            told: dict[str, float] = {}

            proxy.refuse()
            told["database away"] = watching.wait_for({"EnergyDatabaseAway", "EnergyFailing"}, CRITICAL)
            proxy.heal()
            told["database back"] = watching.wait_for(set(), CRITICAL)

            service.kill()
            told["service gone"] = watching.wait_for({"EnergyDown"}, CRITICAL)
    for what, seconds in told.items():
        print(f"{what}: {seconds:.1f} s here, {seconds * SPEED / 60:.1f} min in production's time")  # noqa: T201 - the figures of the run
