"""Hostile clients beside good ones: does anybody notice, and does the process stay small?

First the good clients alone, then the same with the attacks of `attacks.py`, each side a process of its own so that one does
not slow the other's clock. What is compared is within one run: the good clients' p99 beside their own quiet p99. The
service's memory is its high-water mark, as the kernel keeps it.

Attackers have machines of their own, and here they share two cores with the service and its database. So theirs is the
process that waits (`ATTACKERS_NICE`), and what is measured is what attacks cost the service; that they came at their pace all
the same is judged, too.

`make load-hostile` runs it; a small form of it is in `tests/fault`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import multiprocessing
import os
import random
import time
import uuid
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import asyncpg
from rich.table import Table

from loadtest import attacks, service
from loadtest.runner import console

KEY = "hostile.0123456789abcdef0123456789abcdef"
"""A key of the lab's own database, which is removed after the run."""
ANSWER_TIMEOUT_S = 20.0
MEMORY_MIB_MAX = 160
HELD_SHARE = 0.02
CONNECTIONS_MAX = 900
ATTACKERS_NICE = 10
PACE_MIN = 0.95
SLOWDOWN_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what."""

    attacks: int = 20_000
    attacks_per_s: float = 250.0
    clients: int = 200
    quiet_s: float = 20.0
    patience_s: float = 15.0  # longer than every limit of the service, so that it is the service that hangs up
    seed: int = 1


@dataclass(slots=True)
class Good:
    """What the good clients saw: one entry per request, and every id that was acknowledged."""

    took_s: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)

    def p99_ms(self) -> float:
        """99th percentile of the time from sending to the whole answer."""
        return sorted(self.took_s)[int(len(self.took_s) * 0.99)] * 1000 if self.took_s else float("nan")


@dataclass(frozen=True, slots=True)
class Result:
    """The run's figures; MiB are those of the service's process."""

    plan: Plan
    quiet_p99_ms: float
    hostile_p99_ms: float
    good_answers: dict[str, int]
    acknowledged: list[str]
    attack_answers: dict[str, dict[str, int]]
    attacks_per_s: float
    peak_mib: float

    @property
    def slowdown(self) -> float:
        """How many times their quiet p99 the good clients' is beside the attacks."""
        return self.hostile_p99_ms / self.quiet_p99_ms

    @property
    def faults_of_time(self) -> list[str]:
        """What may be the machine's fault as well: a run counts when nothing else needs its cores."""
        said = []
        if self.attacks_per_s < self.plan.attacks_per_s * PACE_MIN:
            said.append(f"only {self.attacks_per_s:.0f} attacks a second of {self.plan.attacks_per_s:g} were sent")
        if self.slowdown > SLOWDOWN_MAX:
            said.append(
                f"the good clients' p99 was {self.slowdown:.1f} times their quiet one; {SLOWDOWN_MAX:g} are allowed"
            )
        return said

    @property
    def faults(self) -> list[str]:
        """What was promised and did not hold, on whatever machine."""
        said = []
        if bad := {status: n for status, n in self.good_answers.items() if status not in ("200", "201")}:
            said.append(f"good clients were answered {bad}")
        if self.peak_mib > MEMORY_MIB_MAX:
            said.append(f"the process grew to {self.peak_mib:.0f} MiB; {MEMORY_MIB_MAX} are allowed")
        open_ = {name: n for name, counts in self.attack_answers.items() if (n := counts.get(attacks.STILL_OPEN))}
        if open_:
            said.append(f"neither answered nor closed within {self.plan.patience_s:g} s: {open_}")
        if server_errors := {name: n for name, counts in self.attack_answers.items() if (n := counts.get("500"))}:
            said.append(f"answered 500: {server_errors}")
        return said


def run(address: tuple[str, int], pid: int, plan: Plan) -> Result:
    """Plays both halves against a running service whose key is `KEY`."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as processes:
        quiet = processes.submit(good, address, plan.clients, plan.quiet_s).result()
        crowd = processes.submit(good, address, plan.clients, plan.attacks / plan.attacks_per_s)
        answers, attacks_per_s = processes.submit(hostile, address, plan).result()
        noisy = crowd.result()
    return Result(
        plan,
        quiet.p99_ms(),
        noisy.p99_ms(),
        dict(quiet.answers + noisy.answers),
        quiet.acknowledged + noisy.acknowledged,
        {name: dict(counts) for name, counts in answers.items()},
        attacks_per_s,
        peak_mib(pid),
    )


def peak_mib(pid: int) -> float:
    """The most memory that a process has had (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no VmHWM in /proc/{pid}/status")


def good(address: tuple[str, int], clients: int, duration_s: float) -> Good:
    """`clients` meters, each with its connection, each sending a reading per second."""
    seen = Good()

    async def crowd() -> None:
        end = time.monotonic() + duration_s
        await asyncio.gather(*(_meter(address, n / clients, end, seen) for n in range(clients)))

    asyncio.run(crowd())
    return seen


async def _meter(address: tuple[str, int], offset_s: float, end: float, seen: Good) -> None:
    await asyncio.sleep(offset_s)
    device = uuid.uuid4()
    reader, writer = await asyncio.open_connection(*address)
    value = 0
    due = time.monotonic()
    try:
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            value, due = value + 1, due + 1.0
            reading_id = str(uuid.uuid4())
            body = b'{"device_id":"%s","value":%d,"reading_id":"%s"}' % (
                str(device).encode(),
                value,
                reading_id.encode(),
            )
            began = time.monotonic()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    writer.write(_post(body))
                    status, keeps_open = await _read_answer(reader)
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                status, keeps_open = type(error).__name__, False
            seen.took_s.append(time.monotonic() - began)
            seen.answers[status] += 1
            if status in ("200", "201"):
                seen.acknowledged.append(reading_id)
            if not keeps_open:
                writer.close()
                reader, writer = await asyncio.open_connection(*address)
    finally:
        writer.close()


def _post(body: bytes) -> bytes:
    return (
        b"POST /v1/readings HTTP/1.1\r\nHost: energy\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body)
    )


async def _read_answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
    await reader.readexactly(length)
    return lines[0].split(" ")[1], "connection: close" not in lines


def hostile(address: tuple[str, int], plan: Plan) -> tuple[dict[str, Counter[str]], float]:
    """All the attacks at their pace, in an order that the seed decides: the answers of each kind, and how many began a second."""
    os.nice(ATTACKERS_NICE)
    dice = random.Random(plan.seed)  # noqa: S311 - attacks that can be repeated, no secret
    answers: dict[str, Counter[str]] = {name: Counter() for name in attacks.ATTACKS}
    weights = [HELD_SHARE if name in attacks.HELD else 1.0 for name in attacks.ATTACKS]
    names = dice.choices(list(attacks.ATTACKS), weights, k=plan.attacks)

    async def all_of_them() -> float:
        room = asyncio.Semaphore(CONNECTIONS_MAX)

        async def one(name: str) -> None:
            try:
                answers[name][await attacks.play(address, attacks.ATTACKS[name](dice, KEY), plan.patience_s)] += 1
            finally:
                room.release()

        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, name in enumerate(names):
                await asyncio.sleep(max(0.0, began + number / plan.attacks_per_s - time.monotonic()))
                await room.acquire()
                group.create_task(one(name))
            took_s = time.monotonic() - began
        return plan.attacks / took_s

    attacks_per_s = asyncio.run(all_of_them())
    return answers, attacks_per_s


def lost(database_url: str, acknowledged: list[str]) -> int:
    """How many acknowledged readings the database does not have."""

    async def ask() -> int:
        connection = await asyncpg.connect(database_url)
        try:
            there = await connection.fetchval(
                "SELECT count(*) FROM readings WHERE reading_id = ANY($1::uuid[])", acknowledged
            )
        finally:
            await connection.close()
        return len(acknowledged) - int(there)

    return asyncio.run(ask())


def measure(folder: Path, plan: Plan) -> list[str]:
    """The experiment on an instance of its own; leaves `figures.json` and a log in `folder`, returns what did not hold."""
    folder.mkdir(parents=True, exist_ok=True)
    more = ("ENERGY_AUTH=keys", f"ENERGY_BOOTSTRAP_ADMIN_KEY={KEY}")
    with service.instance(1, "group", folder, more=more) as own:
        host, port = own.base_urls[0].removeprefix("http://").split(":")
        result = run((host, int(port)), own.pids[0], plan)
        missing = lost(own.database_url, result.acknowledged)
    figures = {**asdict(result), "acknowledged": len(result.acknowledged), "lost": missing}
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    _show(result, missing)
    return [
        *result.faults,
        *result.faults_of_time,
        *([f"{missing} acknowledged readings are missing"] if missing else []),
    ]


def _show(result: Result, missing: int) -> None:
    table = Table(
        "attack", "answers", title=f"{result.plan.attacks:,} attacks beside {result.plan.clients} good clients"
    )
    for name, counts in result.attack_answers.items():
        table.add_row(name, ", ".join(f"{n:,} × {answer}" for answer, n in sorted(counts.items(), key=lambda c: -c[1])))
    console.print(table)
    console.print(
        f"good clients: {result.good_answers}, {missing} lost; p99 quiet {result.quiet_p99_ms:.1f} ms, beside the attacks "
        f"{result.hostile_p99_ms:.1f} ms ({result.slowdown:.1f} ×); {result.attacks_per_s:.0f} attacks a second; "
        f"memory at most {result.peak_mib:.0f} MiB"
    )
