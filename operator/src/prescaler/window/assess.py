"""One look at one BillingWindow: what is to be written, and what is to be said. A pure function of what was seen.

The order of the writes is what makes a crash between any two of them harmless: the note of what is raised before the raise,
and on the way down the target before the note goes. Whatever is missing is seen by the next look.

A raise that its window no longer carries on (Preview, suspended, invalid, conflicted) stays until the end it was made for
and is then given back; a deleted window, or a changed target, gives it back at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

from prescaler.kube.client import WINDOWS, Kind
from prescaler.kube.objects import BillingWindow, Meta
from prescaler.kube.see import Key, Seen
from prescaler.plan.planner import Phase, Plan
from prescaler.window import raised as raised_
from prescaler.window.capacity import stuck
from prescaler.window.declared import Declared
from prescaler.window.minimum import Decision, decide, target_of
from prescaler.window.pods import Pods
from prescaler.window.raised import Raised
from prescaler.window.spec import DriftPolicy, MaxReplicasPolicy, Mode, Spec
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
class World:
    """What one pass knows."""

    seen: Seen
    declared: Mapping[str, Declared | Verdict]
    owners: Mapping[Key, tuple[str, str]]  # which acting BillingWindow a target belongs to
    pods: Mapping[str, Pods] = field(default_factory=dict)
    shortages: Mapping[str, Fact] = field(default_factory=dict)
    rehearsal: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A BillingWindow that can be understood, and its target."""

    window: BillingWindow
    declared: Declared
    world: World
    now: datetime
    decision: Decision | None  # None: there is no target
    pods: Pods
    owner: tuple[str, str] | None

    @property
    def acts(self) -> bool:
        return self.owner == self.window.key

    @property
    def asked(self) -> int:
        """The minimum that the plan asks for, within the target's maximum."""
        return self.decision.asked if self.decision is not None else self.plan.now.replicas

    @property
    def spec(self) -> Spec:
        return self.declared.spec

    @property
    def plan(self) -> Plan:
        return self.declared.plan


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
    return Case(window, declared, world, now, decision, pods, world.owners.get(key))


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
            said["CapacitySufficient"] = _capacity(case, case.decision)
    return said


def _ready(case: Case) -> Verdict:
    spec, decision = case.spec, case.decision
    unreadable = case.world.seen.why_unreadable(case.window.metadata.namespace, spec.target_ref.kind)
    verdict: Verdict
    if spec.mode is Mode.SUSPENDED:
        verdict = unknown("Suspended", "suspended: nothing is changed")
    elif unreadable is not None:
        verdict = no("TargetUnreadable", f"the {spec.target_ref.kind}s can't be listed: {unreadable}")
    elif decision is None:
        verdict = no("TargetNotFound", f"there is no {spec.target_ref.kind} {spec.target_ref.name}")
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
        return unknown("UnknownTarget", "how many pods are Ready can't be told")
    if ready >= asked:
        return yes("PodsReady", f"{asked} of {asked} Ready")
    return no("PodsNotReady", f"{ready} of {asked} Ready")


def _within_maximum(case: Case, decision: Decision) -> Verdict:
    highest, target = case.declared.schedule.highest, decision.target
    words = f"the maximum of {target.name} is {target.maximum}; the plan asks for up to {highest}"
    return yes("Within", words) if highest <= target.maximum else no("MaxReplicasTooLow", words)


def _capacity(case: Case, decision: Decision) -> Verdict:
    """First what Kubernetes says about pods that don't start, then what doesn't fit, last what is too slow."""
    target, pods, asked = decision.target, case.pods, case.declared.asks(case.now)
    if asked is None:
        return unknown("NotChecked", "checked from a whole lead time before the first step on")
    if asked > target.maximum and case.spec.max_replicas_policy is MaxReplicasPolicy.FAIL:
        return _wont_be(case, Fact("MaxReplicasTooLow", _within_maximum(case, decision).message))
    asked, ready = min(asked, target.maximum), pods.ready
    if ready is None:
        return unknown("UnknownTarget", "how many pods are Ready can't be told")
    if ready >= asked or case.plan.now.phase is Phase.RAMP_DOWN:
        return yes("Sufficient", f"{asked} of {asked} pods are Ready" if ready >= asked else "fewer are needed")
    shortage = (
        stuck(pods.workload, target.scales.name, pods.live or ())
        or case.world.shortages.get(case.window.metadata.uid)
        or _too_slow(case, target.maximum, ready)
    )
    return _wont_be(case, shortage) if shortage is not None else _room(case, asked)


def _room(case: Case, asked: int) -> Verdict:
    around = case.world.seen.around
    if around is None or case.pods.template is None:
        return unknown("NotReadYet", "pods, nodes and quotas are being read")
    words = f"nothing stands in the way of {asked} pods"
    if case.spec.capacity.nodes == "Check" and not around.everywhere:
        words += "; the nodes are not checked: no permission to list nodes and all pods"
    return yes("Sufficient", words)


def _wont_be(case: Case, shortage: Fact) -> Verdict:
    coming = case.declared.deadlines(case.now)
    message = shortage.message
    if coming:
        at = wall(coming[0].start, case.declared.schedule.zones[0])
        message += f". {coming[0].window} needs {coming[0].replicas} pods at {at}"
    return no(shortage.reason, message)


def _too_slow(case: Case, maximum: int, ready: int) -> Fact | None:
    soon = [d for d in case.declared.deadlines(case.now) if d.start <= case.now + case.declared.lead / 2]
    late = next((d for d in soon if ready < min(d.replicas, maximum)), None)
    if late is None or case.plan.now.phase is Phase.IDLE:
        return None
    return Fact("StillStarting", f"only {ready} of {late.replicas} pods are Ready in half the lead time")


def wall(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%d %b %H:%M} ({zone})"
