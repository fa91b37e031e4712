"""A floor from the past: what the same window's peak a month ago asks for, read from Prometheus.

Optional and harmless: it never asks for less than what is declared nor for more than the cap, and when Prometheus is
away or knows nothing, the declared value holds and a condition says so. What was read is recorded in the status, so a
restart neither asks again nor forgets.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import aiohttp
import msgspec

from prescaler.plan import Opening
from prescaler.spec import Replay, replicas_for

TIMEOUT_S = 5.0
POINTS_MAX = 10_000  # Prometheus refuses more than 11 000
STEP_MIN_S = 60


class NoDataError(Exception):
    """Why there is no floor from the past."""


@dataclass(frozen=True, slots=True)
class Past:
    """The same window a month earlier."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, opening: Opening, previous: Opening | None) -> "Past":
        """Without a known previous occurrence, the same length 28 days earlier: whole weeks, so weekdays match."""
        if previous is not None:
            return cls(previous.start, previous.end)
        return cls(opening.start - timedelta(days=28), opening.end - timedelta(days=28))


class _Result(msgspec.Struct):
    values: list[tuple[float, str]] = []


class _Found(msgspec.Struct):
    result: list[_Result] = []


class _Answer(msgspec.Struct):
    status: str
    data: _Found = msgspec.field(default_factory=_Found)
    error: str = ""


async def peak_rate(replay: Replay, past: Past) -> float:
    """The highest value of the query in the time looked at. Raises NoDataError."""
    length_s = (past.end - past.start).total_seconds()
    query = {
        "query": replay.query,
        "start": str(past.start.timestamp()),
        "end": str(past.end.timestamp()),
        "step": str(max(STEP_MIN_S, math.ceil(length_s / POINTS_MAX))),
    }
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(replay.url.rstrip("/") + "/api/v1/query_range", params=query) as response,
        ):
            answer = msgspec.json.decode(await response.read(), type=_Answer)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NoDataError(f"Prometheus at {replay.url} doesn't answer: {str(error) or type(error).__name__}") from error
    except msgspec.DecodeError as error:
        raise NoDataError(f"{replay.url} doesn't answer like Prometheus: {error}") from error
    if answer.status != "success":
        raise NoDataError(f"Prometheus refuses the query: {answer.error}")
    values = [float(value) for series in answer.data.result for _, value in series.values]
    known = [value for value in values if math.isfinite(value)]
    if not known:
        raise NoDataError(f"Prometheus has no data from {past.start:%Y-%m-%d %H:%M} to {past.end:%Y-%m-%d %H:%M} UTC")
    return max(known)


def record(replay: Replay, opening: Opening, past: Past, peak: float) -> dict[str, Any]:
    """What goes into the status: the inputs and the floor they give."""
    floor = replicas_for(Fraction(str(peak)), replay.requests_per_second_per_pod, replay.headroom)
    return {
        "window": opening.window,
        "start": timestamp(opening.start),
        "from": timestamp(past.start),
        "to": timestamp(past.end),
        "peakRequestsPerSecond": f"{peak:.1f}",
        "minReplicas": min(floor, replay.max_min_replicas or floor),
    }


def timestamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
