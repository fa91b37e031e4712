"""The operator in a test: its real loop against a real API server, with a clock that the test sets.

The cluster has no controllers of its own, so that nobody else touches an object between two looks at it. Faults are put
into the operator's HTTP client, beneath everything that decides.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import aiohttp
import kopf
import pytest
import yaml
from aiohttp import web

from cluster.fixtures import demand
from prescaler import kube as k
from prescaler.clock import Clock
from prescaler.loop import Loop
from prescaler.objects import GROUP, VERSION
from tools.cluster import Cluster, RefusedError, wait_until


def crd() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(resources.files("prescaler").joinpath("crd.yaml").read_text())
    return loaded


def install_crd(cluster: Cluster) -> None:
    cluster.kubectl.apply(crd())

    def served() -> bool:
        try:
            return bool(cluster.kubectl("get", "bw", "-A", "-o", "name") or True)
        except RefusedError:
            return False

    wait_until(served, "the kind BillingWindow is served")


@pytest.fixture(scope="session")
def api() -> Iterator[Cluster]:
    """An API server and nothing behind it."""
    demand(("etcd", "kube-apiserver", "kubectl"))
    with Cluster(controllers=False) as cluster:
        install_crd(cluster)
        yield cluster


class KilledError(BaseException):
    """The process ends here: nothing after this line happens."""


Fault = Callable[[str, str, bool], None]  # verb, path, whether the request has been carried out; raises to fail it


class FaultyKube(k.Kube):
    """The real client, with a record of its writes and a place to put faults in."""

    def __init__(self, connect: Callable[[], kopf.ConnectionInfo]) -> None:
        super().__init__(connect, timeout_s=10)
        self.writes: list[str] = []
        self.fault: Fault | None = None
        self.answers: list[tuple[str, int, str | None]] = []  # (part of "VERB path", status, Retry-After), each once

    async def _send(
        self, verb: str, path: str, query: dict[str, str] | None, body: object
    ) -> tuple[int, bytes, str | None]:
        what = f"{verb} {path}"
        for answer in self.answers:
            if answer[0] in what:
                self.answers.remove(answer)
                if answer[1] == 0:
                    raise TimeoutError
                return answer[1], json.dumps({"message": f"injected {answer[1]}"}).encode(), answer[2]
        if self.fault and verb != "GET":
            self.fault(verb, path, False)
        result = await super()._send(verb, path, query, body)
        if verb != "GET":
            self.writes.append(what)
            if self.fault:
                self.fault(verb, path, True)
        return result


SPEC: dict[str, Any] = {
    "targetRef": {"name": "energy"},
    "baseline": {"minReplicas": 2},
    "timeZones": ["Europe/Moscow"],
    "leadTime": "30m",
    "windows": [{"name": "monthly", "fromDay": 15, "toDay": 26, "minReplicas": 8}],
}
QUIET = datetime(2027, 1, 5, 12, tzinfo=UTC)
LEAD = datetime(2027, 1, 14, 20, 30, tzinfo=UTC)  # 30 minutes before the 15th in Moscow
START = datetime(2027, 1, 14, 21, tzinfo=UTC)
INSIDE = datetime(2027, 1, 20, 12, tzinfo=UTC)
END = datetime(2027, 1, 26, 21, tzinfo=UTC)


@dataclass
class Rig:
    """One namespace, one operator in this process, and what a human or a rival would do."""

    namespace: str
    kube: FaultyKube
    clock: Clock = field(default_factory=Clock)
    loop: Loop = field(init=False)

    def __post_init__(self) -> None:
        self.at(QUIET)
        self.restart()

    def at(self, when: datetime) -> None:
        self.clock._source = lambda: datetime(2026, 1, 1, tzinfo=UTC)
        self.clock.set(when)

    def restart(self) -> None:
        """A new process: nothing of the old one's memory is left."""
        self.loop = Loop(self.kube, self.clock, namespaces=[self.namespace])

    async def tick(self, when: datetime | None = None) -> None:
        if when is not None:
            self.at(when)
        await self.loop.tick()

    async def make(self, kind: str, body: dict[str, Any], manager: str = "helm", sub: str = "") -> dict[str, Any]:
        return await self.call("POST", f"{kind}{sub}", body, manager)

    async def hpa(self, name: str = "energy", low: int = 2, high: int = 20, **metadata: object) -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        spec = {"minReplicas": low, "maxReplicas": high, "scaleTargetRef": target}
        await self.make(HPA, {"metadata": {"name": name, **metadata}, "spec": spec})

    async def window(self, name: str = "volga", **changes: object) -> None:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "BillingWindow", "metadata": {"name": name}}
        await self.make(BW, {**body, "spec": {**SPEC, **changes}}, "kubectl")

    async def edit(self, kind: str, name: str, changes: dict[str, Any], manager: str = "kubectl-edit") -> None:
        await self.call("PATCH", f"{kind}/{name}", changes, manager)

    async def set_minimum(self, value: int, manager: str = "kubectl-edit", name: str = "energy") -> None:
        await self.edit(HPA, name, {"spec": {"minReplicas": value}}, manager)

    async def get(self, kind: str, name: str) -> dict[str, Any]:
        return await self.call("GET", f"{kind}/{name}")

    async def minimum(self, name: str = "energy") -> int:
        found: int = (await self.get(HPA, name))["spec"]["minReplicas"]
        return found

    async def status(self, name: str = "volga") -> dict[str, Any]:
        return dict((await self.get(BW, name)).get("status", {}))

    async def condition(self, kind: str, name: str = "volga") -> tuple[str, str, str]:
        found = {c["type"]: c for c in (await self.status(name))["conditions"]}
        return (found[kind]["status"], found[kind]["reason"], found[kind]["message"]) if kind in found else ("", "", "")

    async def events(self) -> list[tuple[str, str, str]]:
        found = (await self.call("GET", "api/v1 events"))["items"]
        return [(e["type"], e["reason"], e["message"]) for e in found]

    async def call(self, verb: str, path: str, body: object = None, manager: str = "test") -> dict[str, Any]:
        """As somebody else than the operator: neither recorded nor subject to faults. "group/version plural/name"."""
        prefix, rest = path.split(" ")
        url = f"/{prefix}/namespaces/{self.namespace}/{rest}"
        query = {"fieldManager": manager} if verb != "GET" else None
        status, answer, _ = await k.Kube._send(self.kube, verb, url, query, body)
        assert status < 400, answer.decode()
        return dict(json.loads(answer))


HPA = "apis/autoscaling/v2 horizontalpodautoscalers"
BW = f"apis/{GROUP}/{VERSION} billingwindows"


@pytest.fixture
async def rig(api: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async for made in rig_on(api, monkeypatch):
        yield made


async def rig_on(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    kube = FaultyKube(k.credentials)
    name = f"op-{os.urandom(4).hex()}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    for _ in range(50):  # right after a restart of the API server the connection may be refused
        try:
            await k.Kube._send(kube, "POST", "/api/v1/namespaces", None, namespace)
            break
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
    rig = Rig(name, kube)
    try:
        yield rig
    finally:
        await kube.close()


@pytest.fixture
async def prometheus() -> AsyncIterator[str]:
    """Answers `query_range` as Prometheus does, with a peak of 1000 requests a second in the middle of what is asked."""

    async def query_range(request: web.Request) -> web.Response:
        start, end = float(request.query["start"]), float(request.query["end"])
        values = [[start, "120"], [(start + end) / 2, "1000"], [end, "NaN"]]
        result = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
        return web.json_response({"status": "success", "data": result})

    app = web.Application()
    app.router.add_get("/api/v1/query_range", query_range)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
