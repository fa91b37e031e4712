"""Probes and scrapes are answered on every address that a pod may have; a probe no longer than the loop turns."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from prescaler.clock import Clock
from prescaler.handlers import Options, Running, serve
from prescaler.kube.client import Kube
from prescaler.loop import STALLED_AFTER_S, Loop
from tools.local.waiting import free_port


class Operator:
    """A loop that the test holds, behind the real endpoint."""

    def __init__(self) -> None:
        self.options, self.monotonic_s = Options(health_port=free_port(), metrics_port=free_port()), 0.0
        kube = Kube()
        loop = Loop(kube, Clock(), monotonic=lambda: self.monotonic_s)
        self.running = Running(loop, kube, asyncio.create_task(asyncio.sleep(3600)))

    async def answer(self, address: str = "127.0.0.1") -> tuple[int, str]:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://{address}:{self.options.health_port}/healthz")
            return answer.status_code, answer.text

    async def metrics(self, address: str) -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://{address}:{self.options.metrics_port}/metrics")).text


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    made = Operator()
    served = await serve(made.running, made.options)
    yield made
    made.running.task.cancel()
    await served.cleanup()


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
async def test_probes_and_scrapes_are_answered_on_both_families_of_addresses(operator: Operator, address: str) -> None:
    assert await operator.answer(address) == (200, "turning")
    assert "prescaler_leader" in await operator.metrics(address)


async def test_health_fails_when_the_loop_is_stuck_and_when_it_has_ended(operator: Operator) -> None:
    operator.monotonic_s = STALLED_AFTER_S + 1
    assert await operator.answer() == (500, "the loop has been stuck for 91 s")
    operator.running.task.cancel()
    await asyncio.wait({operator.running.task})
    status, words = await operator.answer()
    assert (status, words.split(":")[0]) == (500, "the loop has ended")
