"""kill -9 under load, told as it happens: first the service, then a process of PostgreSQL. `make load-kill`.

Clients do what every client should: they send a reading again with its id until it is acknowledged. At the end each
acknowledged id is looked for in the database. What was printed is kept as asciinema casts, one a language, for the README.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg

from loadtest import commands
from loadtest.runner import console
from tools.local.postgres import Postgres
from tools.local.service import ENERGY, ServiceProcess
from tools.local.waiting import free_port

CLIENTS, PER_CLIENT_S = 40, 10.0
UNDISTURBED_S = 3.0
ATTEMPT_TIMEOUT_S, RETRY_S = 2.0, 0.25
AMBER, GREEN, PLAIN = "\x1b[33m", "\x1b[32m", "\x1b[0m"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
WORDS = {
    "en": {
        "start": "$ make load-kill      # {clients} clients, {rate} readings a second",
        "tick": "{at:5.0f} s  acknowledged {acknowledged:6,}   sent again {retried:4,}",
        "service": "{at:5.1f} s  kill -9 energy, started again at once",
        "database": "{at:5.1f} s  kill -9 of a PostgreSQL process under it",
        "away": "{at:5.1f} s  readings are acknowledged again, after {away:.1f} s",
        "end": "acknowledged {acknowledged:,} · in the database {stored:,} · lost {lost} · stored twice {twice}",
    },
    "ru": {
        "start": "$ make load-kill      # {clients} клиентов, {rate} показаний в секунду",
        "tick": "{at:5.0f} с  подтверждено {acknowledged:6,}   повторов {retried:4,}",
        "service": "{at:5.1f} с  kill -9 energy, сразу запущен снова",
        "database": "{at:5.1f} с  kill -9 процесса PostgreSQL под ним",
        "away": "{at:5.1f} с  показания снова подтверждаются, через {away:.1f} с",
        "end": "подтверждено {acknowledged:,} · в базе {stored:,} · потеряно {lost} · дважды {twice}",
    },
}


@dataclass
class Run:
    """What has happened so far, and what was said about it."""

    started: float = field(default_factory=time.monotonic)
    acknowledged: set[str] = field(default_factory=set)
    retried: int = 0
    over: bool = False
    last_s: float = 0.0
    longest_s: float = 0.0
    casts: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: {language: [] for language in WORDS})

    @property
    def at(self) -> float:
        return time.monotonic() - self.started

    def say(self, what: str, colour: str = PLAIN, **values: object) -> None:
        """A line in each language's cast; the English one on the terminal, too."""
        now = self.at
        for language, words in WORDS.items():
            line = words[what].format(at=now, acknowledged=len(self.acknowledged), retried=self.retried, **values)
            if language == "ru":
                line = re.sub(r"(?<=\d)\.(?=\d)", ",", re.sub(r"(?<=\d),(?=\d{3})", "\u00a0", line))
            self.casts[language].append((now, f"{colour}{line}{PLAIN}\r\n"))
        console.print(self.casts["en"][-1][1].strip(), markup=False)

    def acknowledge(self, reading_id: str) -> None:
        """Counts one, and the longest time without any."""
        now = self.at
        self.longest_s = max(self.longest_s, now - self.last_s)
        self.last_s = now
        self.acknowledged.add(reading_id)


async def client(run: Run, base: str) -> None:
    """One reading after the other; each until it is acknowledged."""
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while not run.over:
            reading_id = str(uuid4())
            body = {"device_id": str(uuid4()), "reading_id": reading_id, "value": "1042.5"}
            while not await accepted(session, base, body):
                run.retried += 1
                await asyncio.sleep(RETRY_S)
            run.acknowledge(reading_id)
            await asyncio.sleep(1 / PER_CLIENT_S)


async def accepted(session: aiohttp.ClientSession, base: str, body: dict[str, str]) -> bool:
    """Whether this attempt was answered 201 or 200."""
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.post(f"{base}/v1/readings", json=body) as answer:
            return answer.status in (200, 201)
    return False


async def tell(run: Run) -> None:
    """A line a second."""
    for second in count(1):
        await asyncio.sleep(max(0.0, second - run.at))
        if run.over:
            return
        run.say("tick")


async def until_acknowledged(run: Run, fault_s: float) -> float:
    """Seconds from a fault to the first acknowledgement after a gap in them."""
    run.longest_s = 0.0
    while run.last_s < fault_s + 0.1:  # noqa: ASYNC110 - watches a number that the clients change
        await asyncio.sleep(0.01)
    run.say("away", GREEN, away=run.longest_s)
    return run.longest_s


def a_backend(postgres: Postgres) -> int:
    """A process of PostgreSQL that serves the service."""
    listed = Path(f"/proc/{postgres.pid}/task/{postgres.pid}/children").read_text().split()
    return next(int(pid) for pid in listed if b"idle" in Path(f"/proc/{pid}/cmdline").read_bytes())


async def play(postgres: Postgres, environment: dict[str, str], logs: Path) -> dict[str, float]:
    """The whole of it; returns the figures."""
    service = ServiceProcess(environment, logs / "service.log")
    run = Run()
    run.say("start", clients=CLIENTS, rate=round(CLIENTS * PER_CLIENT_S))
    clients = [asyncio.create_task(client(run, service.base)) for _ in range(CLIENTS)]
    telling = asyncio.create_task(tell(run))
    away = {}
    await asyncio.sleep(UNDISTURBED_S)
    run.say("service", AMBER)
    killed_s = run.at
    service.kill()
    starting = asyncio.create_task(asyncio.to_thread(ServiceProcess, environment, logs / "service-2.log"))
    away["service"] = await until_acknowledged(run, killed_s)
    service = await starting
    await asyncio.sleep(UNDISTURBED_S)
    run.say("database", AMBER)
    killed_s = run.at
    os.kill(a_backend(postgres), signal.SIGKILL)
    away["database"] = await until_acknowledged(run, killed_s)
    await asyncio.sleep(UNDISTURBED_S)
    run.over = True
    await asyncio.gather(*clients, telling)
    service.stop()
    connection = await asyncpg.connect(postgres.dsn)
    stored = [str(row[0]) for row in await connection.fetch("SELECT reading_id FROM readings", timeout=60)]
    await connection.close()
    lost, twice = len(run.acknowledged - set(stored)), len(stored) - len(set(stored))
    run.say("end", GREEN, stored=len(stored), lost=lost, twice=twice)
    for language, lines in run.casts.items():
        head = {"version": 2, "width": 96, "height": len(lines), "title": "kill -9 under load"}
        events = [json.dumps([round(at, 3), "o", line], ensure_ascii=False) for at, line in lines]
        (IMAGES / f"kill.{language}.cast").write_text("\n".join([json.dumps(head), *events, ""]))
    return {
        "cores": os.cpu_count() or 1,
        "acknowledged": len(run.acknowledged),
        "stored": len(stored),
        "sent_again": run.retried,
        "lost": lost,
        "stored_twice": twice,
        "service_away_s": round(away["service"], 2),
        "database_away_s": round(away["database"], 2),
    }


def measure(folder: Path) -> bool:
    """Leaves figures.json in `folder` and the casts in docs/images; whether nothing was lost or stored twice."""
    folder.mkdir(parents=True)
    with Postgres() as postgres:
        environment = {
            **os.environ, "ENERGY_AUTH": "off", "ENERGY_PORT": str(free_port()), "ENERGY_DATABASE_URL": postgres.dsn,
        }  # fmt: skip
        commands.run(ENERGY, "migrate", env=environment)
        figures = asyncio.run(play(postgres, environment, folder))
    (folder / "figures.json").write_text(json.dumps(figures, indent=1))
    return not figures["lost"] and not figures["stored_twice"]
