"""What each would do at chosen dates: February, the month's end, and the days on which clocks change.

Nobody waits for February: `keda-cron` holds KEDA's own cron scaler under a clock that jumps, and `prescaler plan` prints
the operator's plan. Both are asked for the same dates, and the answers are the times at which more pods are wanted.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tools.cluster import Manifest
from tools.cluster.binaries import program
from tools.keda.contestants import BASELINE, WANTED, billing_window

TIMEOUT_S = 300
_STEP_S = 60


@dataclass(frozen=True, slots=True)
class Case:
    """One window, as both are told of it, and the days that are looked at."""

    name: str
    zone: str
    window: dict[str, Any]  # of a BillingWindow
    triggers: tuple[tuple[str, str], ...]  # start and end of each cron trigger; the highest answer counts
    since: str
    until: str

    @property
    def edges(self) -> tuple[datetime, datetime]:
        zone = ZoneInfo(self.zone)
        since, until = (datetime.fromisoformat(day).replace(tzinfo=zone) for day in (self.since, self.until))
        return since.astimezone(UTC), until.astimezone(UTC)


def _days(first: int, last: int) -> dict[str, Any]:
    return {"fromDay": first, "toDay": last, "minReplicas": WANTED}


def _nightly(opens: str, closes: str) -> dict[str, Any]:
    """Every night: a window of the whole month that asks for nothing but its peaks."""
    peak = {"from": opens, "to": closes, "minReplicas": WANTED}
    return {"fromDay": 1, "toDay": 31, "minReplicas": BASELINE, "peaks": [peak]}


_MOSCOW, _BERLIN, _CAIRO = "Europe/Moscow", "Europe/Berlin", "Africa/Cairo"
_YEAR = ("2027-01-10", "2028-01-10")
_TURN = ("2027-01-20", "2027-04-10")
_SPRING, _AUTUMN = ("2027-03-27", "2027-03-29T12:00"), ("2027-10-30T00:00", "2027-11-01T12:00")
_15_TO_26 = (_days(15, 26), (("0 0 15 * *", "0 0 27 * *"),))
_25_TO_30 = (_days(25, 30), (("0 0 25 * *", "59 23 30 * *"),))
_25_TO_30_IN_TWO = (_days(25, 30), (("0 0 25 1,3-12 *", "59 23 30 1,3-12 *"), ("0 0 25 2 *", "0 0 1 3 *")))
_31_TO_5 = (_days(31, 5), (("0 0 31 * *", "0 0 6 * *"),))
CASES = (
    Case("15-26", _MOSCOW, *_15_TO_26, *_YEAR),
    Case("25-end", _MOSCOW, _days(25, 31), (("0 0 25 * *", "0 0 1 * *"),), *_YEAR),
    Case("25-30", _MOSCOW, *_25_TO_30, *_YEAR),
    Case("25-30-two-triggers", _MOSCOW, *_25_TO_30_IN_TWO, *_YEAR),
    Case("31-5", _MOSCOW, *_31_TO_5, *_YEAR),
    Case("15-26-february", _MOSCOW, *_15_TO_26, "2027-02-01", "2027-03-01"),
    Case("25-30-february", _MOSCOW, *_25_TO_30, *_TURN),
    Case("31-5-february", _MOSCOW, *_31_TO_5, *_TURN),
    Case("across", _BERLIN, _nightly("22:00", "06:00"), (("0 22 * * *", "0 6 * * *"),), *_SPRING),
    Case("starts-in-lost-hour", _BERLIN, _nightly("02:30", "06:00"), (("30 2 * * *", "0 6 * * *"),), *_SPRING),
    Case("ends-in-lost-hour", _BERLIN, _nightly("22:00", "02:30"), (("0 22 * * *", "30 2 * * *"),), *_SPRING),
    Case("starts-in-repeated-hour", _BERLIN, _nightly("02:30", "06:00"), (("30 2 * * *", "0 6 * * *"),), *_AUTUMN),
    Case("ends-in-repeated-hour", _BERLIN, _nightly("22:00", "02:30"), (("0 22 * * *", "30 2 * * *"),), *_AUTUMN),
    Case("lost-midnight", _CAIRO, _days(30, 4), (("0 0 30 * *", "0 0 5 * *"),), "2027-03-28", "2027-05-10"),
)
Changes = list[tuple[datetime, int]]


def compare() -> list[dict[str, Any]]:
    """Asks both about every case."""
    return [
        {
            "name": case.name,
            "zone": case.zone,
            "window": case.window,
            "triggers": [list(trigger) for trigger in case.triggers],
            "since": case.since,
            "until": case.until,
            "operator": _told(case, _asked_operator(case)),
            "keda": _told(case, changes),
        }
        for case, changes in zip(CASES, _asked_keda(), strict=True)
    ]


def _asked_keda() -> list[Changes]:
    questions = [
        {
            "trigger": {"timezone": case.zone, "start": start, "end": end, "desiredReplicas": str(WANTED)},
            "from": _rfc3339(case.edges[0]),
            "until": _rfc3339(case.edges[1]),
            "step_s": _STEP_S,
        }
        for case in CASES
        for start, end in case.triggers
    ]
    answer = subprocess.run(
        [program("keda-cron")],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if answer.returncode != 0:
        raise RuntimeError(f"keda-cron failed:\n{answer.stderr[-2000:]}")
    answers = iter(json.loads(answer.stdout))
    return [_highest([_changes(next(answers)) for _ in case.triggers]) for case in CASES]


def _changes(answer: dict[str, Any]) -> Changes:
    """Below the baseline is none: the ScaledObject's minReplicaCount."""
    if "refused" in answer:
        raise RuntimeError(f"KEDA refuses a trigger: {answer['refused']}")
    return [(datetime.fromisoformat(change["at"]), max(BASELINE, change["replicas"])) for change in answer["changes"]]


def _highest(several: list[Changes]) -> Changes:
    """What an HPA makes of several metrics."""
    moments = sorted({at for changes in several for at, _ in changes})
    return [(at, max([r for when, r in changes if when <= at][-1] for changes in several)) for at in moments]


def _asked_operator(case: Case) -> Changes:
    """The plan from a month before on, so that its state at the first moment is known from the change before it."""
    since, until = case.edges
    asked_from = since - timedelta(days=62)
    months = (until - asked_from) // timedelta(days=28) + 1
    plan = ["plan", "-", "--from", f"{asked_from:%Y-%m-%d}", "--months", str(months), "--format", "json"]
    answer = subprocess.run(
        [sys.executable, "-m", "prescaler", *plan],
        input=json.dumps(_manifest(case)), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    if answer.returncode != 0:
        raise RuntimeError(f"prescaler plan failed:\n{answer.stderr[-2000:]}")
    changes = [(datetime.fromisoformat(c["at"]), int(c["minReplicas"])) for c in json.loads(answer.stdout)]
    before = [replicas for at, replicas in changes if at <= since]
    return [(since, before[-1] if before else BASELINE), *((at, r) for at, r in changes if since < at < until)]


def _manifest(case: Case) -> Manifest:
    spec = {"timeZones": [case.zone], "leadTime": "0s", "windows": [{"name": "window", **case.window}]}
    return billing_window("case", {"name": "case"}, spec)


def _told(case: Case, changes: Changes) -> dict[str, Any]:
    """The stretches with more pods than the baseline, and how many hours they are together."""
    _, until = case.edges
    ends = [at for at, _ in changes[1:]] + [until]
    spans = [[at, end] for (at, replicas), end in zip(changes, ends, strict=True) if replicas > BASELINE and at < until]
    joined: list[list[datetime]] = []
    for at, end in spans:
        if joined and joined[-1][1] == at:
            joined[-1][1] = end
        else:
            joined.append([at, end])
    hours = sum((end - at).total_seconds() for at, end in joined) / 3600
    zone = ZoneInfo(case.zone)
    local = [[f"{moment.astimezone(zone):%Y-%m-%dT%H:%M%z}" for moment in span] for span in joined]
    return {"times": len(joined), "hours": round(hours, 1), "spans": local}


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
