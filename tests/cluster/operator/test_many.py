"""A thousand BillingWindows in their lead time, with Deployments, HPAs and ten thousand pods: a pass under a second, under 120 MiB.

The figures are printed (`-s` shows them). The gate holds the shape of a pass (unit/prescaler/test_scale.py); this run takes
minutes and leaves an API server that is slow for whoever comes next, so `make test-operator` has it.
"""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tools.cluster import Cluster, RefusedError
from tools.local.waiting import free_port, until
from unit.prescaler.rig import DEPLOYMENT, INSIDE, LEAD, POD, QUIET, Rig

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

MANY, PODS = 1000, 10
TEMPLATE = {
    "containers": [{"name": "app", "image": "energy:1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]
}


@pytest.fixture
async def thousand(api: Cluster, rig: Rig) -> AsyncIterator[Rig]:
    await rig.make("api/v1 serviceaccounts", {"metadata": {"name": "default"}})
    gate = asyncio.Semaphore(20)

    async def make(number: int) -> None:
        async with gate:
            name = f"w{number:04}"
            labels = {"app": name}
            await rig.hpa(name)
            template = {"metadata": {"labels": labels}, "spec": TEMPLATE}
            spec = {"replicas": PODS, "selector": {"matchLabels": labels}, "template": template}
            await rig.make(DEPLOYMENT, {"apiVersion": "apps/v1", "metadata": {"name": name}, "spec": spec})
            ready: dict[str, Any] = {"replicas": PODS, "readyReplicas": 2, "availableReplicas": 2}
            await rig.edit(DEPLOYMENT, f"{name}/status", {"status": ready})
            for pod in range(PODS):
                await rig.make(POD, {"metadata": {"name": f"{name}-{pod}", "labels": labels}, "spec": TEMPLATE})
            peaks = [{"from": "18:00", "to": "22:00", "minReplicas": 12}]
            window = {"name": "monthly", "fromDay": 15, "toDay": 26, "minReplicas": 8, "peaks": peaks}
            await rig.window(name, targetRef={"name": name}, windows=[window], leadTime=f"{30 + number % 20}m")

    def pods_are_gone() -> bool:
        """Thousands take longer than one request may; the next tests would list what is left."""
        try:
            api.kubectl("delete", "--raw", f"/api/v1/namespaces/{rig.namespace}/pods")
        except RefusedError:
            return False
        return True

    await asyncio.gather(*(make(number) for number in range(MANY)))
    yield rig
    await asyncio.to_thread(until, pods_are_gone, "the pods are gone", 300)


@pytest.mark.timeout(900)
async def test_a_thousand_windows(api: Cluster, thousand: Rig) -> None:
    rig = thousand
    figures = {}
    for name, when in (("first pass", QUIET), ("all raised at once", LEAD)):
        began = time.perf_counter()
        rig.at(when)
        await rig.loop.tick()
        figures[name] = time.perf_counter() - began
    began = time.perf_counter()
    await rig.loop.settle(60)
    figures["pods, nodes and quotas, beside the passes"] = time.perf_counter() - began
    await rig.tick(LEAD)
    assert (await rig.condition("PreScaled", "w0999")) == ("False", "PodsNotReady", "2 of 8 Ready")
    figures["pass in the lead time"] = await quickest(rig)
    await rig.tick(INSIDE)
    figures["pass in the window"] = await quickest(rig)
    assert await rig.minimum("w0999") == 8
    memory_mib, peak_mib = await asyncio.to_thread(memory_of_the_operator, api, rig.namespace, LEAD)
    print(  # noqa: T201 - the figures
        f"\n1000 BillingWindows, 10000 pods: {memory_mib:.0f} MiB, peak {peak_mib:.0f} MiB,",
        ", ".join(f"{n} {s:.2f} s" for n, s in figures.items()),
    )
    assert figures["pass in the lead time"] < 1.0
    assert memory_mib < 120


async def quickest(rig: Rig) -> float:
    """Of five passes that write nothing."""
    spans = []
    for _ in range(5):
        rig.kube.writes.clear()
        began = time.perf_counter()
        await rig.loop.tick()
        spans.append(time.perf_counter() - began)
        assert rig.kube.writes == []
    return min(spans)


def memory_of_the_operator(api: Cluster, namespace: str, now: datetime) -> tuple[float, float]:
    """Of the real process, as installed: resident after several passes over everything, and the highest it ever was."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "prescaler", "run", "-n", namespace, "--metrics-port", str(port)]
    environment = os.environ | {"KUBECONFIG": str(api.kubeconfig), "PRESCALER_CLOCK_START": now.isoformat()}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: ticks(port) >= 6, "the operator has made six passes", timeout_s=120)
            told = Path(f"/proc/{process.pid}/status").read_text()
            found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", told))
            return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024
        finally:
            process.terminate()
            process.wait(30)


def ticks(port: int) -> float:
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    except httpx.TransportError:
        return 0
    found = re.search(r'^prescaler_ticks_total\{outcome="done"\} ([0-9.]+)', text, re.MULTILINE)
    return float(found[1]) if found else 0
