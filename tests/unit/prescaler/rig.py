"""The operator in a test: its real loop against an API, in memory or a real one, with a clock that the test sets.

Nobody else touches an object between two looks at it. Faults are put into the operator's HTTP client, beneath everything
that decides.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import kopf

from prescaler.clock import Clock
from prescaler.kube import client as k
from prescaler.kube.objects import GROUP, VERSION
from prescaler.loop import Loop
from unit.prescaler.memory import MemoryApi

HPA = "apis/autoscaling/v2 horizontalpodautoscalers"
BW = f"apis/{GROUP}/{VERSION} billingwindows"
SCALED_OBJECT = "apis/keda.sh/v1alpha1 scaledobjects"
DEPLOYMENT = "apis/apps/v1 deployments"
POD = "api/v1 pods"

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

Fault = Callable[[str, str, bool], None]  # verb, path, whether the request has been carried out; raises to fail it


class KilledError(BaseException):
    """The process ends here: nothing after this line happens."""


class FaultyKube(k.Kube):
    """The real client, with a record of its writes and a place to put faults in."""

    def __init__(self, connect: Callable[[], kopf.ConnectionInfo]) -> None:
        super().__init__(connect, timeout_s=10)
        self.writes: list[str] = []
        self.fault: Fault | None = None
        self.answers: list[tuple[str, int, str | None]] = []  # (part of "VERB path", status, Retry-After), each once
        self.always: dict[str, int] = {}  # part of "VERB path" -> status, for as long as it stands here

    async def transport(
        self, verb: str, path: str, query: dict[str, str] | None, body: object
    ) -> tuple[int, bytes, str | None]:
        return await super()._send(verb, path, query, body)

    async def _send(
        self, verb: str, path: str, query: dict[str, str] | None, body: object
    ) -> tuple[int, bytes, str | None]:
        what = f"{verb} {path}"
        for answer in self.answers:
            if answer[0] in what:
                self.answers.remove(answer)
                return _injected(answer[1], answer[2])
        for part, status in self.always.items():
            if part in what:
                return _injected(status, None)
        if self.fault and verb != "GET":
            self.fault(verb, path, False)
        result = await self.transport(verb, path, query, body)
        if verb != "GET":
            self.writes.append(what)
            if self.fault:
                self.fault(verb, path, True)
        return result


def _injected(status: int, retry_after: str | None) -> tuple[int, bytes, str | None]:
    if status == 0:
        raise TimeoutError
    return status, json.dumps({"message": f"injected {status}"}).encode(), retry_after


class MemoryKube(FaultyKube):
    def __init__(self, api: MemoryApi) -> None:
        super().__init__(k.credentials)
        self.api = api

    async def transport(
        self, verb: str, path: str, query: dict[str, str] | None, body: object
    ) -> tuple[int, bytes, str | None]:
        return self.api.handle(verb, path, query, json.loads(json.dumps(body)) if body is not None else None)


@dataclass
class Rig:
    """One namespace, one operator in this process, and what a human or a rival would do."""

    namespace: str
    kube: FaultyKube
    clock: Clock = field(default_factory=Clock)
    loop: Loop = field(init=False)
    monotonic_s: float = 0.0

    def __post_init__(self) -> None:
        self.at(QUIET)
        self.restart()

    def at(self, when: datetime) -> None:
        self.clock._source = lambda: datetime(2026, 1, 1, tzinfo=UTC)
        self.clock.set(when)

    def restart(self, **options: Any) -> None:
        """A new process: nothing of the old one's memory is left."""
        named = {"namespaces": [self.namespace]} | options
        self.loop = Loop(self.kube, self.clock, monotonic=lambda: self.monotonic_s, **named)

    async def tick(self, when: datetime | None = None) -> None:
        """Two minutes later on the clock of retries and caches; again once everything is there that was asked for."""
        if when is not None:
            self.at(when)
        self.monotonic_s += 120
        await self.loop.tick()
        if await self.loop.settle(10):
            await self.loop.tick()

    async def make(self, kind: str, body: dict[str, Any], manager: str = "helm", sub: str = "") -> dict[str, Any]:
        return await self.call("POST", f"{kind}{sub}", body, manager)

    async def hpa(self, name: str = "energy", low: int = 2, high: int = 20, **metadata: object) -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        spec = {"minReplicas": low, "maxReplicas": high, "scaleTargetRef": target}
        await self.make(HPA, {"metadata": {"name": name, **metadata}, "spec": spec})

    async def scaled_object(
        self, name: str = "energy", low: int | None = 2, high: int = 20, **metadata: object
    ) -> None:
        spec: dict[str, Any] = {
            "maxReplicaCount": high,
            "scaleTargetRef": {"name": name},
            "triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}],
        }
        spec |= {"minReplicaCount": low} if low is not None else {}
        body = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": name, **metadata}}
        await self.make(SCALED_OBJECT, {**body, "spec": spec})

    async def window(self, name: str = "volga", **changes: object) -> None:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "BillingWindow", "metadata": {"name": name}}
        await self.make(BW, {**body, "spec": {**SPEC, **changes}}, "kubectl")

    async def edit(self, kind: str, name: str, changes: dict[str, Any], manager: str = "kubectl-edit") -> None:
        await self.call("PATCH", f"{kind}/{name}", changes, manager)

    async def delete(self, kind: str, name: str) -> None:
        await self.call("DELETE", f"{kind}/{name}")

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
        found = {c["type"]: c for c in (await self.status(name)).get("conditions", [])}
        return (found[kind]["status"], found[kind]["reason"], found[kind]["message"]) if kind in found else ("", "", "")

    async def events(self) -> list[tuple[str, str, str]]:
        found = (await self.call("GET", "api/v1 events"))["items"]
        return [(e["type"], e["reason"], e["message"]) for e in found]

    async def warnings(self) -> list[str]:
        return [reason for kind, reason, _ in await self.events() if kind == "Warning"]

    async def call(self, verb: str, path: str, body: object = None, manager: str = "test") -> dict[str, Any]:
        """As somebody else than the operator: neither recorded nor subject to faults. "group/version plural/name"."""
        prefix, rest = path.split(" ")
        url = f"/{prefix}/namespaces/{self.namespace}/{rest}"
        query = {"fieldManager": manager} if verb != "GET" else None
        status, answer, _ = await self.kube.transport(verb, url, query, body)
        assert status < 400, answer.decode()
        return dict(json.loads(answer))
