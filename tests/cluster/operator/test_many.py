"""A thousand BillingWindows: one tick under a second, under 100 MiB. The figures are printed (`-s` shows them)."""

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tools.cluster import Cluster
from tools.local.waiting import free_port, until
from unit.prescaler.rig import INSIDE, QUIET, Rig

pytestmark = pytest.mark.cluster

MANY = 1000


@pytest.fixture
async def thousand(rig: Rig) -> Rig:
    gate = asyncio.Semaphore(20)

    async def make(number: int) -> None:
        async with gate:
            name = f"w{number:04}"
            await rig.hpa(name)
            peaks = [{"from": "18:00", "to": "22:00", "minReplicas": 12}]
            window = {"name": "monthly", "fromDay": 15, "toDay": 26, "minReplicas": 8, "peaks": peaks}
            zones = ["Europe/Moscow", "Europe/Samara", "Asia/Yekaterinburg"]
            lead = f"{20 + number % 20}m"
            await rig.window(name, targetRef={"name": name}, windows=[window], timeZones=zones, leadTime=lead)

    await asyncio.gather(*(make(number) for number in range(MANY)))
    return rig


@pytest.mark.timeout(480)
async def test_a_thousand_windows(api: Cluster, thousand: Rig) -> None:
    rig = thousand
    figures = {}
    for name, when in (("first tick", QUIET), ("all opened at once", INSIDE)):
        began = time.perf_counter()
        await rig.tick(when)
        figures[name] = time.perf_counter() - began
    spans = []
    for _ in range(5):
        rig.kube.writes.clear()
        began = time.perf_counter()
        await rig.tick()
        spans.append(time.perf_counter() - began)
        assert rig.kube.writes == []
    figures["tick"] = min(spans)
    assert await rig.minimum("w0999") == 8
    memory_mib, peak_mib = await asyncio.to_thread(memory_of_the_operator, api, rig.namespace)
    print(  # noqa: T201 - the figures
        f"\n1000 BillingWindows: {memory_mib:.0f} MiB, peak {peak_mib:.0f} MiB,",
        ", ".join(f"{n} {s:.2f} s" for n, s in figures.items()),
    )
    assert figures["tick"] < 1.0
    assert memory_mib < 100


def memory_of_the_operator(api: Cluster, namespace: str) -> tuple[float, float]:
    """Of the real process, as installed: resident after several ticks over everything, and the highest it ever was."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "prescaler", "run", "-n", namespace, "--metrics-port", str(port)]
    environment = os.environ | {"KUBECONFIG": str(api.kubeconfig), "PRESCALER_CLOCK_START": INSIDE.isoformat()}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: ticks(port) >= 3, "the operator has ticked three times", timeout_s=90)
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
