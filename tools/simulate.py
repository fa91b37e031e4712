"""`make simulate`: plays histories of the intake (tests/simulation) on all cores for SIM_S seconds, each from a seed of its own.

SIM_COUNT plays so many instead; SIM_SEED plays one and tells it. Ends with 1 when a promise was broken.
"""

from __future__ import annotations

import itertools
import os
import secrets
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from simulation.history import History, Sent, play, without_logs
from simulation.judge import broken
from simulation.world import Attempt

AT_A_TIME = 500
SHOWN_MAX = 5

Findings = dict[int, dict[str, list[str]]]


def main() -> int:
    seed = os.environ.get("SIM_SEED")
    if seed:
        return tell(int(seed))
    count, seconds = int(os.environ.get("SIM_COUNT") or 0), float(os.environ.get("SIM_S") or 60)
    first = secrets.randbelow(2**40)
    began = time.monotonic()
    played, findings = many(first, count, began + seconds)
    print(f"{played} histories from seed {first} on in {time.monotonic() - began:.0f} s, {len(findings)} broken")
    print(*(f"{name}: {times}" for name, times in Counter(itertools.chain(*findings.values())).items()), sep="\n")
    for seed_, found in list(findings.items())[:SHOWN_MAX]:
        print(f"make simulate SIM_SEED={seed_}: {', '.join(found)}")
    return 1 if findings else 0


def many(first: int, count: int, until: float) -> tuple[int, Findings]:
    """How many were played, and what was found by seed."""
    findings: Findings = {}
    played = 0
    starts = itertools.count(first, AT_A_TIME)
    with ProcessPoolExecutor() as workers:
        under_way: set[Future[Findings]] = set()
        while under_way or not played:
            while len(under_way) < 2 * (os.cpu_count() or 1) and more(next_ := next(starts), first, count, until):
                under_way.add(workers.submit(block, next_))
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                findings |= future.result()
                played += AT_A_TIME
    return played, findings


def more(start: int, first: int, count: int, until: float) -> bool:
    """Whether a block that begins with this seed is still to be played."""
    return start < first + count if count else time.monotonic() < until


def block(first: int) -> Findings:
    """One worker's share."""
    with without_logs():
        return {seed: found for seed in range(first, first + AT_A_TIME) if (found := broken(play(seed)))}


def tell(seed: int) -> int:
    """One history in words."""
    with without_logs():
        history = play(seed)
    print(history.limits)
    for line in lines_of(history):
        print(line)
    found = broken(history)
    for name, findings in found.items():
        print(f"\n{name}:", *findings, sep="\n  ")
    return 1 if found else 0


def lines_of(history: History) -> list[str]:
    """What was sent and what was tried, in the order of its beginning."""
    told = [(sent.step, _line_of_sent(sent)) for sent in history.sent]
    told += [(tried.began, _line_of(tried)) for tried in history.database.attempts]
    if history.drain is not None:
        told.append((history.drain, f"{history.drain_s:8.4f} s  drains, until step {history.drained}"))
    return [f"step {step:4}: {line}" for step, line in sorted(told)]


def _line_of_sent(sent: Sent) -> str:
    reading = sent.reading
    heard = sent.refused or sent.outcomes or sent.failures or ("hung up" if sent.hung_up else "never heard")
    when = "" if sent.heard_s is None else f" at {sent.heard_s:.4f} s, step {sent.heard}"
    what = f"{reading.value} of {reading.device_id.int} ({reading.source}, id {reading.reading_id.hex[:6]})"
    return f"{sent.at_s:8.4f} s  {sent.way:6} sends {what}: {heard}{when}"


def _line_of(tried: Attempt) -> str:
    values = ", ".join(reading.value for reading in tried.readings)
    came_of_it = f"committed in step {tried.committed}, ended in step {tried.ended}"
    return f"{tried.began_s:8.4f} s  {tried.queue:6} tries {values} for {tried.timeout_s:.4f} s: {came_of_it}"


if __name__ == "__main__":
    sys.exit(main())
