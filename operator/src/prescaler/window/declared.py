"""What a BillingWindow declares, with all its inputs: the spec, exceptions from a ConfigMap, floors from the past.

Parsing and planning are kept as long as nothing they depend on has changed, which is what lets a thousand objects be
looked at in a fraction of a second. A cache, not a memory: thrown away, everything is found out again. Whatever is wrong
with an object is a sentence in what is returned here; nothing is raised.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from prescaler.kube.client import CONFIG_MAPS, Kube
from prescaler.kube.fetched import Fetched
from prescaler.kube.objects import BillingWindow
from prescaler.plan.occurrences import TooLargeError, without_effect
from prescaler.plan.planner import Opening, Plan, plan
from prescaler.plan.schedule import Exemption, Schedule
from prescaler.window import replay
from prescaler.window.schema import InvalidSpecError
from prescaler.window.spec import ExceptionDoc, Spec, parse, parse_exceptions, seconds
from prescaler.window.status import PeakRecord, status_of
from prescaler.window.verdict import Verdict, Verdicts, no, unknown, yes

log = logging.getLogger(__name__)

CONFIG_MAP_KEPT_S = 60.0
LIGHT_MAX = 4_000  # of `Spec.weight`: a plan that takes about a tenth of a second of one core
_NEVER = datetime.min.replace(tzinfo=UTC)
Floors = tuple[tuple[str, int], ...]
ListKey = tuple[str, str, str]  # namespace, ConfigMap, key
Inputs = tuple[tuple[ExceptionDoc, ...], Floors]
Listed = tuple[ExceptionDoc, ...] | Verdict  # or why it does not apply


@dataclass(slots=True)
class Declared:
    generation: int
    spec: Spec
    schedule: Schedule
    plan: Plan
    idle: tuple[Exemption, ...]  # exceptions that change nothing
    inputs: Inputs
    too_large: str | None  # why the list of exceptions does not apply
    verdicts: Verdicts = field(default_factory=dict)
    records: tuple[PeakRecord, ...] = ()

    @property
    def lead(self) -> timedelta:
        return timedelta(seconds=self.schedule.lead_s)

    @property
    def horizon(self) -> timedelta:
        """How long before a start its pods are looked at: a whole lead time before the first step."""
        return timedelta(seconds=self.schedule.lead_s + self.schedule.before_s)

    def due(self, now: datetime) -> list[Opening]:
        """Every demand whose pods are looked at: those that are open, and those that begin before the horizon."""
        return [d for d in self.plan.deadlines if d.start <= now + self.horizon and now < d.end]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Understood, but not planned in this pass: it says what is wanted, and not how much now."""

    spec: Spec
    weight: int
    planned_at: datetime | None  # the plan that holds no longer


class Declarations:
    def __init__(
        self,
        lists: Fetched[ListKey, Listed],
        peaks: Fetched[replay.Question, float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lists, self._peaks, self._monotonic = lists, peaks, monotonic
        self._known: dict[str, Declared | tuple[int, Verdict]] = {}

    def forget_all_but(self, windows: Sequence[BillingWindow]) -> None:
        for uid in self._known.keys() - {w.metadata.uid for w in windows}:
            del self._known[uid]

    async def of_all(
        self, windows: Sequence[BillingWindow], now: datetime, plan_until_s: float
    ) -> dict[str, Declared | Waiting | Verdict]:
        """What each declares, or why it can't be understood.

        Plans are made in a thread, so that the lease is kept meanwhile, and one after another: the light ones first, then
        the heavy ones in turn. After `plan_until_s` the rest waits for the next pass, all but one heavy one.
        """
        found = {w.metadata.uid: await self._of(w, now, may_plan=False) for w in windows}
        waiting = [(w, d) for w in windows if isinstance(d := found[w.metadata.uid], Waiting)]
        light = [w for w, d in waiting if d.weight <= LIGHT_MAX]
        heavy = sorted((d.planned_at or _NEVER, w.key, w) for w, d in waiting if d.weight > LIGHT_MAX)
        always = heavy[:1]
        for window in (*light, *(w for _, _, w in heavy)):
            if self._monotonic() < plan_until_s or (always and window is always[0][-1]):
                found[window.metadata.uid] = await self._of(window, now, may_plan=True)
        return found

    async def _of(self, window: BillingWindow, now: datetime, *, may_plan: bool) -> Declared | Waiting | Verdict:
        known = self._known.get(window.metadata.uid)
        if isinstance(known, tuple) and known[0] == window.metadata.generation:
            return known[1]
        try:
            return await self._understood(window, now, may_plan=may_plan)
        except (InvalidSpecError, TooLargeError) as error:
            return self._broken(window, str(error))
        except Exception as error:  # a mistake of ours that one object brings out must not cost the others
            log.exception("%s/%s: could not be understood", *window.key)
            return self._broken(window, f"not understood: {type(error).__name__}: {error!s:.200}")

    def _broken(self, window: BillingWindow, message: str) -> Verdict:
        verdict = no("InvalidSpec", message)
        self._known[window.metadata.uid] = (window.metadata.generation, verdict)
        return verdict

    async def _understood(self, window: BillingWindow, now: datetime, *, may_plan: bool) -> Declared | Waiting:
        meta = window.metadata
        known = self._known.get(meta.uid)
        declared = known if isinstance(known, Declared) and known.generation == meta.generation else None
        spec = declared.spec if declared is not None else parse(window.spec)
        more, verdict = self._listed(meta.namespace, spec)
        records = declared.records if declared is not None else status_of(window).replay
        floors = tuple(replay.floors(spec.replay, records).items()) if spec.replay is not None else ()
        inputs = (more, floors)
        if declared is None or declared.inputs != inputs or not declared.plan.holds_at(now):
            if not may_plan:
                planned_at = known.plan.made_at if isinstance(known, Declared) else None
                return Waiting(spec, spec.weight(len(more)), planned_at)
            declared = await asyncio.to_thread(_planned, meta.generation, spec, inputs, now)
        self._known[meta.uid] = declared
        declared.verdicts = {}
        if spec.exceptions or spec.exceptions_from is not None:
            declared.verdicts["ExceptionsCurrent"] = verdict or _exceptions(declared, now)
        declared.records = ()
        if spec.replay is not None:
            read, said = replay.replayed(spec.replay, declared.schedule, declared.plan, records, self._peaks)
            declared.records, declared.verdicts["ReplayAvailable"] = read, said
            if read != records:  # what has just been read acts in this look
                return await self._understood(window, now, may_plan=may_plan)
        return declared

    def _listed(self, namespace: str, spec: Spec) -> tuple[tuple[ExceptionDoc, ...], Verdict | None]:
        source = spec.exceptions_from
        if source is None:
            return (), None
        held = self._lists.want((namespace, source.config_map, source.key))
        problem = f"ConfigMap {source.config_map} can't be read: {held.problem}" if held.problem is not None else None
        if held.value is None:
            if problem is not None:
                return (), no("ListUnreadable", f"{problem}; its exceptions don't apply")
            return (), unknown("NotReadYet", f"ConfigMap {source.config_map} is being read")
        if isinstance(held.value, Verdict):
            return (), held.value
        return held.value, no("ListUnreadable", f"{problem}; the list read before applies") if problem else None


def _planned(generation: int, spec: Spec, inputs: Inputs, now: datetime) -> Declared:
    """Raises TooLargeError; a list that makes the schedule too large does not apply."""
    more, floors = inputs
    schedule, too_large = spec.schedule(more, dict(floors)), None
    try:
        made = plan(schedule, now)
    except TooLargeError as error:
        if not more:
            raise
        schedule, too_large = spec.schedule((), dict(floors)), f"{error}; the exceptions of the list don't apply"
        made = plan(schedule, now)
    return Declared(generation, spec, schedule, made, tuple(without_effect(schedule)), inputs, too_large)


def list_reader(kube: Kube) -> Callable[[ListKey], Awaitable[Listed]]:
    """Reads the lists that objects take their exceptions from; in a thread, because a long one takes seconds."""

    async def read(key: ListKey) -> Listed:
        namespace, name, entry = key
        found = await kube.get(CONFIG_MAPS, namespace, name)
        if found is None or entry not in found.data:
            return no("ListNotFound", f"there is no key {entry} in ConfigMap {name}; its exceptions don't apply")
        try:
            return await asyncio.to_thread(parse_exceptions, found.data[entry])
        except InvalidSpecError as error:
            return no("ListInvalid", f"{error}; these exceptions don't apply")
        except Exception as error:  # as in `Declarations.of_all`
            log.exception("a list of exceptions could not be understood")
            return no(
                "ListInvalid", f"exceptions: not understood: {type(error).__name__}; these exceptions don't apply"
            )

    return read


def _exceptions(declared: Declared, now: datetime) -> Verdict:
    """An exception that is over is no longer worth a warning; a list that ends too soon is, where that was asked for."""
    if declared.too_large is not None:
        return no("ListInvalid", declared.too_large)
    today = now.astimezone(declared.schedule.zones[0]).date()
    exemptions = declared.schedule.exemptions
    idle = [e for e in declared.idle if e.last >= today]
    if idle:
        first = idle[0]
        return no(
            "HitsNothing", f"{first.action} of {first.day} changes nothing: no window that it concerns is open then"
        )
    last = max((e.until or e.last for e in exemptions), default=None)
    reach = declared.spec.exceptions_reach
    if reach is not None:
        needed = today + timedelta(seconds=seconds(reach))
        if last is None or last < needed:
            words = f"the last exception is on {last}" if last is not None else "no exception is listed"
            return no("ListRanOut", f"{words}; exceptionsReach asks for {reach} ahead: add the coming ones")
    return yes("Listed", f"exceptions are listed up to {last}" if last is not None else "no exception is listed")
