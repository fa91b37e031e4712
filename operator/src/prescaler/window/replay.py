"""A floor from the past: what the peak of each window's last occurrence asks for, read from Prometheus.

Optional and harmless: it never asks for less than what is declared nor for more than the cap, it is read beside the passes,
and when Prometheus is away or knows nothing the declared value holds and a condition says so. The status records the peak,
never the floor: a changed cap, headroom or rate per pod acts at once.
"""

import hashlib
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

import aiohttp
import msgspec
from yarl import URL

from prescaler.kube.fetched import Fetched
from prescaler.plan.planner import Opening, Plan, openings
from prescaler.plan.schedule import Schedule
from prescaler.window.spec import Replay, replicas_for
from prescaler.window.status import PeakRecord
from prescaler.window.verdict import Verdict, no, unknown, yes

TIMEOUT_S = 5.0
POINTS_MAX = 10_000  # Prometheus refuses more than 11 000
STEP_MIN_S = 60
ANSWER_BYTES_MAX = 4 * 1024 * 1024
PEAK_KEPT_S = 86_400.0
RATE_MAX = 10**9


class NoDataError(Exception):
    """Why there is no floor from the past."""


class Question(NamedTuple):
    url: str
    query: str
    since: datetime
    until: datetime


class _Result(msgspec.Struct):
    values: list[tuple[float, str]] = []


class _Found(msgspec.Struct):
    result: list[_Result] = []


class _Answer(msgspec.Struct):
    status: str
    data: _Found = msgspec.field(default_factory=_Found)


def replayed(
    replay: Replay, schedule: Schedule, plan: Plan, held: Sequence[PeakRecord], peaks: Fetched[Question, float]
) -> tuple[tuple[PeakRecord, ...], Verdict]:
    """For every window its open or next occurrence; a record of an earlier one serves until the new one is there."""
    source = hashlib.sha256(f"{replay.url} {replay.query}".encode()).hexdigest()[:12]
    before = {record.window: record for record in held if record.source == source}
    found: dict[str, PeakRecord] = {}
    problems: list[str] = []
    waiting = False
    for coming in _coming(plan):
        record = before.get(coming.window)
        if record is None or record.start != coming.start:
            past = _past(schedule, coming)
            asked = peaks.want(Question(replay.url, replay.query, *past))
            if asked.value is not None:
                record = PeakRecord(coming.window, coming.start, *past, f"{asked.value:.1f}", source)
            elif asked.problem is not None:
                problems.append(asked.problem)
            else:
                waiting = True
        if record is not None:
            found[coming.window] = record
    records = tuple(found.values())
    if problems:
        return records, no("NoData", f"{problems[0]}; the declared minReplicas holds")
    if waiting:
        return records, unknown("NotReadYet", "the last occurrences are being read")
    floors_ = ", ".join(f"{r.window} {r.peak_requests_per_second}/s" for r in records)
    return records, yes("Replayed", f"last month's peaks: {floors_}")


def floors(replay: Replay, records: Iterable[PeakRecord]) -> dict[str, int]:
    """What the recorded peaks ask for, by the spec of now."""
    found: dict[str, int] = {}
    for record in records:
        try:
            rate = Fraction(record.peak_requests_per_second)
        except (ValueError, ZeroDivisionError):
            continue
        floor = replicas_for(min(rate, Fraction(RATE_MAX)), replay.requests_per_second_per_pod, replay.headroom)
        found[record.window] = min(floor, replay.max_min_replicas or floor, 10_000)
    return found


def _coming(plan: Plan) -> list[Opening]:
    first: dict[str, Opening] = {}
    for opening in plan.openings:
        if not opening.peak:
            first.setdefault(opening.window, opening)
    return [*first.values()]


def _past(schedule: Schedule, coming: Opening) -> tuple[datetime, datetime]:
    """The occurrence before; where there was none the same length 28 days earlier: whole weeks, so weekdays match."""
    around = openings(schedule, coming.start - timedelta(days=70), coming.start)
    previous = [o for o in around if o.window == coming.window and o.end <= coming.start]
    if previous:
        return previous[-1].start, previous[-1].end
    return coming.start - timedelta(days=28), min(coming.end, coming.start + timedelta(days=28)) - timedelta(days=28)


def peak_reader(allowed: Sequence[str]) -> Callable[[Question], Awaitable[float]]:
    """What a Fetched calls; with `allowed` only these addresses, and paths below them, are asked."""

    async def read(question: Question) -> float:
        if allowed and not any(_within(URL(question.url), URL(each)) for each in allowed):
            raise NoDataError(f"the operator may not ask {question.url}: PRESCALER_REPLAY_URLS does not name it")
        return await peak_rate(question)

    return read


def _within(asked: URL, allowed: URL) -> bool:
    """By host, not by text: in `http://allowed@elsewhere` the name before the @ is a user."""
    same = asked.origin() == allowed.origin()
    return same and f"{asked.path.rstrip('/')}/".startswith(f"{allowed.path.rstrip('/')}/")


async def peak_rate(question: Question) -> float:
    """The highest value of the query in the time looked at. Raises NoDataError, which quotes nothing of the answer."""
    length_s = (question.until - question.since).total_seconds()
    query = {
        "query": question.query,
        "start": str(question.since.timestamp()),
        "end": str(question.until.timestamp()),
        "step": str(max(STEP_MIN_S, math.ceil(length_s / POINTS_MAX))),
    }
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(
                question.url.rstrip("/") + "/api/v1/query_range", params=query, allow_redirects=False
            ) as response,
        ):
            body = await response.content.read(ANSWER_BYTES_MAX)
            while len(body) < ANSWER_BYTES_MAX and (more := await response.content.read(ANSWER_BYTES_MAX - len(body))):
                body += more
            answer = msgspec.json.decode(body, type=_Answer)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        if isinstance(error, msgspec.DecodeError):
            raise NoDataError(f"{question.url} doesn't answer like Prometheus") from error
        raise NoDataError(f"Prometheus at {question.url} doesn't answer: {type(error).__name__}") from error
    if answer.status != "success":
        raise NoDataError("Prometheus refuses the query")
    if len(answer.data.result) > 1:
        raise NoDataError(f"the query gives {len(answer.data.result)} series; make it one, for example with sum()")
    known = [v for series in answer.data.result for v in map(_number, (text for _, text in series.values)) if v >= 0]
    if not known:
        raise NoDataError(
            f"Prometheus has no data from {question.since:%Y-%m-%d %H:%M} to {question.until:%Y-%m-%d %H:%M} UTC"
        )
    return max(known)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if math.isfinite(value) else -1.0
