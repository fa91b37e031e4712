"""History comes from a real streaming replica while it is fresh, and from the primary when it is not, and says which."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from fault.pair import Pair
from fault.proxy import Proxy
from support.fixtures import StartService
from support.postgres import TestServer, execute
from support.service import client_of
from tools.local.waiting import until

LAG_MAX_S = 0.5
REQUEST_TIMEOUT_S = 3.0


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with contextlib.closing(TestServer()) as primary:
        pair = Pair(primary)
        yield pair
        pair.replica.stop(signal.SIGQUIT)


@pytest.fixture
def dsn(pair: Pair) -> Iterator[str]:
    dsn = pair.primary.migrated()
    yield dsn
    pair.replica.start()
    execute(pair.replica.dsn, "SELECT pg_wal_replay_resume()")


@pytest.fixture
def client(pair: Pair, dsn: str, start_service: StartService) -> Iterator[httpx.Client]:
    until(lambda: has_schema(pair, dsn), "the schema to reach the replica")
    service = start_service(
        dsn, database_read_url=pair.replica_dsn(dsn), replica_lag_max_s=LAG_MAX_S, request_timeout_s=REQUEST_TIMEOUT_S
    )
    with client_of(service) as client:
        yield client


def has_schema(pair: Pair, dsn: str) -> bool:
    name = dsn.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    return bool(pair.on_replica(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'"))  # noqa: S608 - our own name


class Meter:
    """One device that sends readings and reads its history."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.device_id = str(uuid4())
        self.sent = 0

    def send(self) -> None:
        self.sent += 1
        answer = self.client.post("/v1/values", json={"device_id": self.device_id, "value": self.sent})
        assert answer.status_code == 201

    def read(self) -> tuple[str, list[float]]:
        """Where history was read, and the values in it, newest first."""
        answer = self.client.get(f"/v1/devices/{self.device_id}/readings")
        assert answer.status_code == 200, answer.text
        return answer.headers["energy-read-from"], [float(item["value"]) for item in answer.json()["items"]]

    def all_from(self, where: str) -> bool:
        """Sends one more and says whether history has all of them, read there."""
        self.send()
        return self.read() == (where, [float(value) for value in range(self.sent, 0, -1)])


def test_history_is_read_from_the_replica_while_the_primary_takes_writes(client: httpx.Client, pair: Pair) -> None:
    meter = Meter(client)
    until(lambda: meter.all_from("replica"), "the newest reading to be in the replica's history")
    assert pair.on_replica("SELECT pg_is_in_recovery()") is True
    assert pair.on_replica("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'energy'") >= 1
    reads_before = read_count(client, "primary")
    for _ in range(20):
        meter.send()
        assert meter.read()[0] == "replica"
    assert read_count(client, "primary") == reads_before


def read_count(client: httpx.Client, where: str) -> float:
    wanted = f'energy_history_reads_total{{read_from="{where}"}} '
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0.0)


def test_history_is_read_from_the_primary_while_the_replica_is_too_far_behind(client: httpx.Client, pair: Pair) -> None:
    meter = Meter(client)
    until(lambda: meter.all_from("replica"), "the replica to be used")
    execute(pair.replica.dsn, "SELECT pg_wal_replay_pause()")
    until(lambda: meter.all_from("primary"), "the primary to be used")
    execute(pair.replica.dsn, "SELECT pg_wal_replay_resume()")
    until(lambda: meter.all_from("replica"), "the replica to be used again")


def test_history_is_read_from_the_primary_while_the_replica_is_gone(client: httpx.Client, pair: Pair) -> None:
    meter = Meter(client)
    until(lambda: meter.all_from("replica"), "the replica to be used")
    pair.replica.stop()
    assert meter.all_from("primary"), "the first read without the replica must not fail"
    assert meter.all_from("primary")
    pair.replica.start()
    until(lambda: meter.all_from("replica"), "the replica to be used again")


def test_a_replica_that_does_not_answer_costs_no_answer(pair: Pair, dsn: str, start_service: StartService) -> None:
    until(lambda: has_schema(pair, dsn), "the schema to reach the replica")
    with Proxy(Path(pair.replica.data_dir)) as proxy:
        service = start_service(dsn, database_read_url=proxy.dsn(dsn), request_timeout_s=REQUEST_TIMEOUT_S)
        with client_of(service) as client:
            client.timeout = httpx.Timeout(REQUEST_TIMEOUT_S)
            meter = Meter(client)
            until(lambda: meter.all_from("replica"), "the replica to be used")
            proxy.swallow()
            for _ in range(5):
                assert meter.all_from("primary")
            proxy.heal()
            until(lambda: meter.all_from("replica"), "the replica to be used again")


@pytest.mark.parametrize("fault", [Proxy.refuse, Proxy.swallow], ids=["refuses", "is mute"])
def test_a_replica_answers_when_the_primary_is_gone(
    pair: Pair, dsn: str, start_service: StartService, fault: Callable[[Proxy], None]
) -> None:
    until(lambda: has_schema(pair, dsn), "the schema to reach the replica")
    with Proxy(Path(pair.primary.postgres.data_dir)) as proxy:
        service = start_service(
            proxy.dsn(dsn), database_read_url=pair.replica_dsn(dsn), replica_lag_max_s=LAG_MAX_S,
            request_timeout_s=REQUEST_TIMEOUT_S,
        )  # fmt: skip
        with client_of(service) as client:
            meter = Meter(client)
            until(lambda: meter.all_from("replica"), "the replica to be used")
            execute(pair.replica.dsn, "SELECT pg_wal_replay_pause()")
            until(lambda: meter.all_from("primary"), "the replica to be too far behind")
            fault(proxy)
            where, values = meter.read()
            assert where == "stale-replica"
            assert values
            proxy.heal()
            until(lambda: meter.read()[0] == "primary", "the primary to be read again")
