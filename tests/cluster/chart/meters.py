"""Meters that send until they are answered, with the load lab's ledger of what they heard: `python meters.py URL RATE SECONDS FILE`.

Open loop, a new connection for each attempt, the same id until 200 or 201. A program of its own, so that it can run in a
node's network (`nsenter`). LOAD_RUN and LOAD_API_KEY are its run and its key. k6 would need a user for each reading that waits,
thousands in an outage; here a waiting reading is a sleeping task.
"""

import asyncio
import os
import random
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import TextIO

import aiohttp

WAIT_MAX_S = 15.0
LIMITS = aiohttp.ClientTimeout(total=12, sock_connect=2)
CONNECTIONS_MAX = 1000
ACKNOWLEDGED = (HTTPStatus.OK, HTTPStatus.CREATED)
GIVES_UP_S = 90.0


def reading_id(number: int) -> str:
    return f"{os.environ['LOAD_RUN']}-0001-4000-8000-{number:012x}"


async def attempt(http: aiohttp.ClientSession, url: str, number: int, ledger: TextIO) -> bool:
    """One request and its line in the ledger."""
    body = {"device_id": reading_id(number), "reading_id": reading_id(number), "register": "T0", "value": "12.5"}
    asked = time.time()
    try:
        async with http.post(f"{url}/v1/readings", json=body) as answer:
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        status = 0
    ledger.write(f"{asked * 1000:.0f} r 1 {number} 1 {status} {(time.time() - asked) * 1000:.2f}\n")
    return status in ACKNOWLEDGED


async def reading(http: aiohttp.ClientSession, url: str, number: int, ledger: TextIO, ends: float) -> None:
    wait_s = 1.0
    while not await attempt(http, url, number, ledger) and time.monotonic() < ends:
        await asyncio.sleep(random.uniform(0.5, 1) * wait_s)  # noqa: S311 - no secret
        wait_s = min(2 * wait_s, WAIT_MAX_S)


async def main(url: str, rate: float, seconds: float, ledger: TextIO) -> None:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, force_close=True)
    headers = {"Authorization": f"Bearer {os.environ['LOAD_API_KEY']}"}
    started = time.monotonic()
    ends = started + seconds + GIVES_UP_S
    async with (
        aiohttp.ClientSession(connector=connector, timeout=LIMITS, headers=headers) as http,
        asyncio.TaskGroup() as all_of_them,
    ):
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            all_of_them.create_task(reading(http, url, number, ledger, ends))


if __name__ == "__main__":
    with Path(sys.argv[4]).open("w", buffering=1) as written:
        asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), written))
