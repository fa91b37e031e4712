"""One look at one BillingWindow: what is to be written, and what is to be said. A pure function of what was seen.

The order of the writes is what makes a crash between any two of them harmless: the note of what is raised before the raise,
and on the way down the target before the note goes. Whatever is missing is seen by the next look.

A raise that its window no longer carries on (Preview, suspended, invalid, conflicted) stays until the end it was made for
and is then given back; a deleted window, or a changed target, gives it back at once.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from prescaler.kube.client import WINDOWS, Kind
from prescaler.kube.objects import BillingWindow, Meta
from prescaler.plan.planner import Phase
from prescaler.window import raised as raised_
from prescaler.window.case import Case, World
from prescaler.window.declared import Declared
from prescaler.window.minimum import Decision, decide, target_of
from prescaler.window.pods import Pods
from prescaler.window.raised import Raised
from prescaler.window.readiness import readiness, wall
from prescaler.window.spec import DriftPolicy, Mode
from prescaler.window.status import Status, status_of
from prescaler.window.verdict import Fact, Verdict, Verdicts, no, unknown, yes


class Write(NamedTuple):
    """One patch. `seen` is what it was decided on; of a window that was just written, its newer self is taken."""

    resource: Kind[Any]
    seen: Meta
    changes: dict[str, Any]
    sets_minimum: bool = False
    replaces_drift: bool = False
    may_be_refused: bool = False  # then the writes after it are made all the same


@dataclass(frozen=True, slots=True)
class Assessment:
    """`to_do` in its order. What is said is finished in `conclude`, once it is known what could be done."""

    window: BillingWindow
    now: datetime
    to_do: tuple[Write, ...]
    verdicts: Verdicts
    previous: Status = field(default_factory=Status)
    case: Case | None = None  # None: it is invalid, or being deleted
    leaves: bool = False  # it is being deleted: there is no status to write any more
    not_given_back: str | None = None

    @property
    def acts(self) -> bool:
        """Whether anybody is to be woken by what is said."""
        return self.case is None or self.case.acts


def assess(window: BillingWindow, world: World, now: datetime) -> Assessment:
    declared = world.declared[window.metadata.uid]
    policy = declared.spec.drift_policy if isinstance(declared, Declared) else DriftPolicy.RAISE
    if window.metadata.deletion_timestamp is not None:
        to_do, lost = _give_back(window, world, policy, now), _out_of_reach(window, world, now)
        return Assessment(window, now, to_do, {}, leaves=True, not_given_back=lost)
    previous = status_of(window)
    verdicts: Verdicts = {}
    if world.rehearsal is not None:
        verdicts["Rehearsal"] = yes("RehearsalClock", world.rehearsal)
    over = _give_back_when_over(window, world, policy, now)
    if isinstance(declared, Verdict):
        verdicts["Ready"] = _with_what_stays(declared, window, now)
        return Assessment(window, now, over, verdicts, previous)
    case = _case(window, declared, world, now, previous)
    verdicts |= _verdicts(case)
    return Assessment(window, now, _bring_to_plan(case) if case.acts else over, verdicts, previous, case)


def _case(window: BillingWindow, declared: Declared, world: World, now: datetime, previous: Status) -> Case:
    spec, key = declared.spec, (window.metadata.namespace, *declared.spec.target)
    found = world.seen.targets.get(key)
    decision = None
    if found is not None:
        decision = decide(
            target_of(found),
            declared.plan.now.replicas,
            drift_policy=spec.drift_policy,
            max_policy=spec.max_replicas_policy,
            last_applied=previous.applied_min_replicas,
        )
    pods = world.pods.get(window.metadata.uid, Pods())
    return Case(window, declared, world, now, decision, pods, world.owners.get(key), previous.history)


# ── what is to be done ───────────────────────────────────────────────────────────────────────────


def _bring_to_plan(case: Case) -> tuple[Write, ...]:
    window, spec, plan, decision = case.window, case.spec, case.plan, case.decision
    if case.world.seen.why_unreadable(window.metadata.namespace, spec.target_ref.kind) is not None:
        return ()
    held = raised_.held(window, case.now)
    to_do: list[Write] = []
    if held is not None and (held.kind, held.name) != spec.target:  # the target was changed while it was raised
        to_do += _lower(window, case.world, held, spec.drift_policy)
    wants = plan.now.replicas > spec.baseline.min_replicas
    works = decision is not None and decision.blocked is None
    if wants and works:
        note = Raised(*spec.target, spec.baseline.min_replicas, plan.idle_at)
        patch = raised_.hold(window, note)
        if patch is not None:
            to_do.append(Write(WINDOWS, window.metadata, patch))
    to_do += _set(decision)
    foreign = decision is None or decision.target.foreign is not None
    if held is not None and not wants and (works or foreign):
        to_do.append(Write(WINDOWS, window.metadata, raised_.let_go(window)))
    return tuple(to_do)


def _set(decision: Decision | None, *, may_be_refused: bool = False) -> list[Write]:
    if decision is None or not decision.writes:
        return []
    target, drifted = decision.target, decision.drift is not None
    return [Write(target.resource, target.meta, target.patch(decision.minimum), True, drifted, may_be_refused)]


def _give_back_when_over(window: BillingWindow, world: World, policy: DriftPolicy, now: datetime) -> tuple[Write, ...]:
    held = raised_.held(window, now)
    if held is None or (now < held.until and not _has_heir(window, world, held)):
        return ()
    return _give_back(window, world, policy, now)


def _give_back(window: BillingWindow, world: World, policy: DriftPolicy, now: datetime) -> tuple[Write, ...]:
    """The target first, then the note; let go whatever becomes of the target."""
    held = raised_.held(window, now)
    if held is None:
        return ()
    if _out_of_reach(window, world, now) is None and world.seen.why_unreadable(window.metadata.namespace, held.kind):
        return ()  # it will be readable again
    return (*_lower(window, world, held, policy), Write(WINDOWS, window.metadata, raised_.let_go(window)))


def _out_of_reach(window: BillingWindow, world: World, now: datetime) -> str | None:
    """Why the target of a deleted window can't even be read: a missing permission or kind would keep the window for ever."""
    held = raised_.held(window, now)
    unreadable = world.seen.why_unreadable(window.metadata.namespace, held.kind) if held is not None else None
    gone = window.metadata.deletion_timestamp is not None and unreadable is not None and unreadable.status in {403, 404}
    return f"its target can't be read: {unreadable}" if gone else None


def _lower(window: BillingWindow, world: World, held: Raised, policy: DriftPolicy) -> list[Write]:
    found = world.seen.targets.get((window.metadata.namespace, held.kind, held.name))
    if found is None or _has_heir(window, world, held):
        return []
    return _set(decide(target_of(found), held.baseline, drift_policy=policy), may_be_refused=True)


def _has_heir(window: BillingWindow, world: World, held: Raised) -> bool:
    """Another acting BillingWindow has the target: what its minimum is to be is that one's affair."""
    owner = world.owners.get((window.metadata.namespace, held.kind, held.name))
    return owner is not None and owner != window.key


# ── what is to be said ───────────────────────────────────────────────────────────────────────────


def _verdicts(case: Case) -> Verdicts:
    ready = _ready(case)
    said = case.declared.verdicts | {"WindowActive": _window_active(case), "Ready": ready}
    if case.spec.mode is Mode.ACTIVE and not case.acts and case.owner is not None:
        said["Conflicted"] = yes("OlderWins", ready.message)
    if case.decision is not None:
        said["PreScaled"] = _prescaled(case, case.decision.asked)
        said["WithinMaximum"] = _within_maximum(case, case.decision)
    if case.acts:
        said["CapacitySufficient"] = readiness(case)
    return said


def _ready(case: Case) -> Verdict:
    spec, decision = case.spec, case.decision
    verdict: Verdict
    if spec.mode is Mode.SUSPENDED:
        verdict = unknown("Suspended", "suspended: nothing is changed")
    elif decision is None:
        verdict = no(*case.no_target)
    elif spec.mode is Mode.PREVIEW:
        target = decision.target
        words = f"preview: the minimum of {target.name} is {target.minimum} and would be {decision.minimum}"
        verdict = yes("Preview", words)
    elif not case.acts:
        older = case.owner[1] if case.owner else "?"
        verdict = no("Conflicted", f"{decision.target.name} belongs to the older BillingWindow {older}")
    elif decision.blocked is not None:
        verdict = no(decision.blocked.reason, decision.blocked.message)
    else:
        words, short = f"the minimum of {decision.target.name} is {decision.minimum}", decision.short_of
        return yes("Clamped", f"{words}: {short.message}") if short is not None else yes("Applied", words)
    return verdict if case.acts else _with_what_stays(verdict, case.window, case.plan.made_at)


def _with_what_stays(verdict: Verdict, window: BillingWindow, now: datetime) -> Verdict:
    held = raised_.held(window, now)
    if held is None:
        return verdict
    stays = f"what was raised stays until {held.until:%Y-%m-%d %H:%M} UTC and is then given back"
    return verdict._replace(message=f"{verdict.message}; {stays}")


def _window_active(case: Case) -> Verdict:
    plan, zone = case.plan, case.declared.schedule.zones[0]
    opened, phase = plan.open_now, plan.now.phase.value
    if opened is not None:
        return yes(phase, f"{opened.window} is open until {wall(opened.end, zone)}")
    following = plan.next_window(case.now)
    words = f"{following.window} opens {wall(following.start, zone)}" if following else "no window opens in two months"
    return no(phase, words)


def _prescaled(case: Case, asked: int) -> Verdict:
    ready = case.pods.ready
    if case.plan.now.phase in {Phase.IDLE, Phase.RAMP_DOWN}:
        return no("NotNeeded", "no window is open or about to open")
    if ready is None:
        return unknown(*(case.pods.unseen or Fact("NotReadYet", "the pods are being read")))
    if ready >= asked:
        return yes("PodsReady", f"{asked} of {asked} Ready")
    return no("PodsNotReady", f"{ready} of {asked} Ready")


def _within_maximum(case: Case, decision: Decision) -> Verdict:
    highest, target = case.declared.schedule.highest, decision.target
    words = f"the maximum of {target.name} is {target.maximum}; the plan asks for up to {highest}"
    return yes("Within", words) if highest <= target.maximum else no("MaxReplicasTooLow", words)
