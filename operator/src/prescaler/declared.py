"""What a BillingWindow declares, with all its inputs: the spec, exceptions from a ConfigMap, the floor from the past.

Parsing and planning are kept as long as nothing they depend on has changed, which is what lets a thousand objects be
looked at in a fraction of a second. A cache, not a memory: thrown away, everything is found out again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prescaler.clock import Clock
from prescaler.kube import CONFIG_MAPS, Kube
from prescaler.objects import BillingWindow
from prescaler.plan import HINDSIGHT_D, Opening, Plan, Schedule, demands, openings, plan
from prescaler.replay import NoDataError, Past, peak_rate, record, timestamp
from prescaler.spec import ExceptionDoc, InvalidSpecError, Spec, parse, parse_exceptions

CONFIG_MAP_KEPT_S = 60.0
REPLAY_RETRY_S = 300.0

Verdicts = dict[str, tuple[str, str, str]]


@dataclass(slots=True)
class Declared:
    generation: int
    spec: Spec
    inputs: tuple[tuple[ExceptionDoc, ...], tuple[tuple[str, int], ...]]
    schedule: Schedule
    plan: Plan
    verdicts: Verdicts
    replay_record: dict[str, Any] | None = None


class Declarations:
    """Raises InvalidSpecError for what can't be understood."""

    def __init__(self, kube: Kube, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._kube, self._clock, self._monotonic = kube, clock, monotonic
        self._known: dict[str, Declared] = {}
        self._lists: dict[tuple[str, str], tuple[float, dict[str, str] | None]] = {}
        self._replay_failed: dict[str, tuple[float, str]] = {}

    def forget_all_but(self, uids: set[str]) -> None:
        for uid in self._known.keys() - uids:
            del self._known[uid]

    async def of(self, window: BillingWindow) -> Declared:
        meta, now = window.metadata, self._clock.now()
        known = self._known.get(meta.uid)
        spec = known.spec if known is not None and known.generation == meta.generation else parse(window.spec)
        verdicts: Verdicts = {}
        more = await self._listed(meta.namespace, spec, verdicts)
        if spec.exceptions or more:
            _judge_exceptions(spec, more, now, verdicts)
        replayed = window.status.get("replay")
        if spec.replay is not None:
            replayed = await self._replayed(meta.uid, spec, spec.schedule(more), replayed, verdicts)
        floors = ((replayed["window"], replayed["minReplicas"]),) if spec.replay is not None and replayed else ()
        inputs = (more, floors)
        if known is not None and known.spec is spec and known.inputs == inputs:
            declared, declared.verdicts, declared.replay_record = known, verdicts, replayed
            if not declared.plan.holds_at(now):
                declared.plan = plan(declared.schedule, now)
            return declared
        schedule = spec.schedule(more, dict(floors))
        declared = Declared(meta.generation, spec, inputs, schedule, plan(schedule, now), verdicts, replayed)
        self._known[meta.uid] = declared
        return declared

    async def _listed(self, namespace: str, spec: Spec, verdicts: Verdicts) -> tuple[ExceptionDoc, ...]:
        source = spec.exceptions_from
        if source is None:
            return ()
        key = (namespace, source.config_map)
        read_at, held = self._lists.get(key, (float("-inf"), None))
        if self._monotonic() - read_at > CONFIG_MAP_KEPT_S:
            found = await self._kube.get(CONFIG_MAPS, *key)
            held = found.data if found is not None else None
            self._lists[key] = (self._monotonic(), held)
        if held is None or source.key not in held:
            words = f"there is no key {source.key} in ConfigMap {source.config_map}; its exceptions don't apply"
            verdicts["ExceptionsCurrent"] = ("False", "ListNotFound", words)
            return ()
        try:
            return parse_exceptions(held[source.key])
        except InvalidSpecError as error:
            verdicts["ExceptionsCurrent"] = ("False", "ListInvalid", f"{error}; these exceptions don't apply")
            return ()

    async def _replayed(
        self, uid: str, spec: Spec, schedule: Schedule, held: dict[str, Any] | None, verdicts: Verdicts
    ) -> dict[str, Any] | None:
        """The record for the window that is open or comes next; the held one as long as it is for that window."""
        now = self._clock.now()
        at = int(now.timestamp())
        around = openings(schedule, demands(schedule, at - HINDSIGHT_D * 86_400, at + HINDSIGHT_D * 86_400))
        coming = next((o for o in around if o.end > now), None)
        if coming is None or spec.replay is None:
            return None
        if held and (held["window"], held["start"]) == (coming.window, timestamp(coming.start)):
            words = f"last month's peak was {held['peakRequestsPerSecond']}/s: at least {held['minReplicas']} replicas"
            verdicts["ReplayAvailable"] = ("True", "Replayed", words)
            return held
        failed_at, why = self._replay_failed.get(uid, (float("-inf"), ""))
        if self._monotonic() - failed_at > REPLAY_RETRY_S:
            past = Past.of(coming, _previous(around, coming))
            try:
                fresh = record(spec.replay, coming, past, await peak_rate(spec.replay, past))
            except NoDataError as error:
                why = str(error)
                self._replay_failed[uid] = (self._monotonic(), why)
            else:
                return await self._replayed(uid, spec, schedule, fresh, verdicts)
        verdicts["ReplayAvailable"] = ("False", "NoData", f"{why}; the declared minReplicas holds")
        return None


def _previous(around: list[Opening], coming: Opening) -> Opening | None:
    return next((o for o in reversed(around) if o.window == coming.window and o.end <= coming.start), None)


def _judge_exceptions(spec: Spec, more: tuple[ExceptionDoc, ...], now: datetime, verdicts: Verdicts) -> None:
    last = max(e.until or e.day for e in (*spec.exceptions, *more))
    if "ExceptionsCurrent" in verdicts:
        return
    if now.date() > last + timedelta(days=1):
        words = f"the last exception was on {last}; add the coming ones or remove the list"
        verdicts["ExceptionsCurrent"] = ("False", "ListRanOut", words)
    else:
        verdicts["ExceptionsCurrent"] = ("True", "Listed", f"exceptions are listed up to {last}")
