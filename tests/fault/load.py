"""Meters that send readings to a service which is being broken, and write down what they hear.

Open loop: readings are due when they are due, whatever happened to the earlier ones. Like real meters, some send the same
reading twice although it was acknowledged, and all of them send again what they got no answer for, as long as it carries an
id or a key.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from uuid import UUID

import aiohttp

from fault.history import Answer, Heard, History, Intent, Sent

CONNECTIONS_MAX = 200
NOT_STORED_CODES = frozenset(
    {"overloaded", "database_unavailable", "not_ready", "unstorable", "rate_limited", "invalid", "malformed"}
)
"""Problem codes that promise that nothing was stored."""

_DEVICES = 40
_REPEATED_SHARE = 0.1
_BATCH_ITEMS = 5
_ANSWER_TIMEOUT_S = 30.0
_SETTLE_TIMEOUT_S = 30.0


class Meters:
    """A seeded crowd of meters. The same seed sends the same readings in the same order."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        base_url: Callable[[], str],
        history: History,
        seed: int,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._history = history
        self._random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._devices = [self._uuid() for _ in range(_DEVICES)]
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._unsettled: dict[int, Intent] = {}
        self.acknowledged = 0

    async def run(self, rate_per_s: float, duration_s: float) -> None:
        """Sends for that long, and returns when every request has ended one way or another."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as sending:
            due_s = 0.0
            while due_s < duration_s:
                await asyncio.sleep(max(0.0, started + due_s - time.monotonic()))
                readings = self._next()
                sending.create_task(self._send_as_meters_do(readings, repeated=self._random.random() < _REPEATED_SHARE))
                due_s += self._random.expovariate(rate_per_s / len(readings))

    async def settle(self) -> None:
        """Sends again what had no answer and carries an id, until there is an answer for each."""
        async with asyncio.timeout(_SETTLE_TIMEOUT_S):
            while left := [[intent] for intent in self._unsettled.values() if intent.once]:
                await asyncio.gather(*(self.send(single) for single in left))

    async def send(self, readings: list[Intent]) -> None:
        """One request and what was heard of it."""
        for intent in readings:
            self._history.add(Sent(intent.number))
        try:
            if readings[0].path.endswith("/batch"):
                answers = await self._post_batch(readings)
            else:
                answers = [await self._post(readings[0])]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answers = [Answer(intent.number, Heard.UNKNOWN, said=type(error).__name__) for intent in readings]
        for intent, answer in zip(readings, answers, strict=True):
            self._history.add(answer)
            self.acknowledged += answer.heard is Heard.ACKNOWLEDGED
            if answer.heard is Heard.UNKNOWN:
                self._unsettled[intent.number] = intent
            else:
                self._unsettled.pop(intent.number, None)

    async def _send_as_meters_do(self, readings: list[Intent], *, repeated: bool) -> None:
        await self.send(readings)
        if repeated and readings[0].once:
            await self.send(readings)

    def _next(self) -> list[Intent]:
        path = self._random.choices(
            ["/v1/values", "/v2/values", "/v1/readings", "/v1/readings/batch", "/v1/values without a key"],
            [6, 2, 6, 1, 1],
        )[0]
        count = _BATCH_ITEMS if path.endswith("/batch") else 1
        readings = [self._reading(path) for _ in range(count)]
        for intent in readings:
            self._history.add(intent)
        return readings

    def _reading(self, path: str) -> Intent:
        number, device = next(self._numbers), self._random.choice(self._devices)
        if path.startswith("/v1/readings"):
            read_at = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=number)
            return Intent(number, path, device, reading_id=self._uuid(), read_at=read_at)
        if path.endswith("without a key"):
            return Intent(number, path.split(maxsplit=1)[0], device)
        return Intent(number, path, device, key=f"key-{self._random.getrandbits(64):x}")

    def _uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)

    async def _post(self, intent: Intent) -> Answer:
        headers = {"Idempotency-Key": intent.key} if intent.key else {}
        async with self._http.post(self._base_url() + intent.path, json=body_of(intent), headers=headers) as response:
            said = await response.json(content_type=None)
            return _answer(intent, response.status, said)

    async def _post_batch(self, readings: list[Intent]) -> list[Answer]:
        async with self._http.post(
            self._base_url() + readings[0].path, json=[body_of(i) for i in readings]
        ) as response:
            said = await response.json(content_type=None)
            if response.status != HTTPStatus.OK:
                return [_answer(intent, response.status, said) for intent in readings]
            return [_answer(intent, item["status"], item) for intent, item in zip(readings, said["items"], strict=True)]


def body_of(intent: Intent) -> dict[str, str | int]:
    """The JSON document of a reading."""
    body: dict[str, str | int] = {"device_id": str(intent.device_id), "value": intent.number}
    if intent.reading_id is not None:
        body["reading_id"] = str(intent.reading_id)
    if intent.read_at is not None:
        body["read_at"] = intent.read_at.isoformat()
    return body


def _answer(intent: Intent, status: int, said: dict[str, str]) -> Answer:
    if status in (HTTPStatus.OK, HTTPStatus.CREATED):
        return Answer(intent.number, Heard.ACKNOWLEDGED, UUID(said["reading_id"]))
    heard = Heard.REFUSED if said.get("code") in NOT_STORED_CODES else Heard.UNKNOWN
    return Answer(intent.number, heard, said=f"{status} {said.get('code')}")


@asynccontextmanager
async def client_session() -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP for meters: bounded, and patient enough to hear every answer that the service promises."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
    timeout = aiohttp.ClientTimeout(total=_ANSWER_TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session
