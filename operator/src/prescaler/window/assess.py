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
from prescaler.kube.see import Seen
from prescaler.plan.planner import Opening, Phase
from prescaler.window import raised as raised_
from prescaler.window.capacity import Shortage, stuck
from prescaler.window.declared import Broken, Declared
from prescaler.window.minimum import Decision, Target, decide, target_of
from prescaler.window.pods import Pods
from prescaler.window.raised import Raised
from prescaler.window.spec import DriftPolicy, MaxReplicasPolicy, Mode
from prescaler.window.status import Status, status_of
from prescaler.window.verdict import Verdict, Verdicts, no, unknown, yes


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
    declared: Mapping[str, Declared | Broken]
    owners: Mapping[tuple[str, str, str], tuple[str, str]]  # which acting BillingWindow a target belongs to
    pods: Mapping[str, Pods] = field(default_factory=dict)
    shortages: Mapping[str, Shortage] = field(default_factory=dict)
    rehearsal: str | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """`to_do` in its order. What is said is finished in `conclude`, once it is known what could be done."""

    window: BillingWindow
    now: datetime
    to_do: tuple[Write, ...]
    declared: Declared | None = None
    acts: bool = True  # whether anybody is to be woken by what is said
    decision: Decision | None = None
    target: Target | None = None
    pods: Pods = field(default_factory=Pods)
    previous: Status = field(default_factory=Status)
    verdicts: Verdicts = field(default_factory=dict)
    leaves: bool = False  # it is being deleted: there is no status to write any more


def assess(window: BillingWindow, world: World, now: datetime) -> Assessment:
    declared = world.declared[window.metadata.uid]
    if window.metadata.deletion_timestamp is not None:
        return Assessment(window, now, _give_back(window, world, declared, now), leaves=True)
    verdicts: Verdicts = {}
    if world.rehearsal is not None:
        verdicts["Rehearsal"] = yes("RehearsalClock", world.rehearsal)
    if isinstance(declared, Broken):
        verdicts["Ready"] = _with_what_stays(declared.verdict, window, now)
        to_do = _give_back_when_over(window, world, declared, now)
        return Assessment(window, now, to_do, previous=status_of(window), verdicts=verdicts)
    return _assess(window, declared, world, now, verdicts)


def _assess(window: BillingWindow, declared: Declared, world: World, now: datetime, verdicts: Verdicts) -> Assessment:
    spec, plan, previous = declared.spec, declared.plan, status_of(window)
    key = (window.metadata.namespace, *spec.target)
    found = world.seen.targets.get(key)
    target = target_of(found) if found is not None else None
    owner = world.owners.get(key)
    acts = owner == window.key
    decision = None
    if target is not None:
        decision = decide(
            target,
            plan.now.replicas,
            drift_policy=spec.drift_policy,
            max_policy=spec.max_replicas_policy,
            last_applied=previous.applied_min_replicas,
        )
    verdicts |= declared.verdicts | _window_verdicts(declared, now)
    to_do: tuple[Write, ...] = ()
    if acts and world.seen.why_unreadable(window.metadata.namespace, spec.target_ref.kind) is None:
        to_do = _bring_to_plan(window, declared, world, target, decision, now)
    elif not acts:
        to_do = _give_back_when_over(window, world, declared, now)
    pods = world.pods.get(window.metadata.uid, Pods())
    verdicts["Ready"] = _ready(window, declared, world, target, decision, owner)
    if spec.mode is Mode.ACTIVE and not acts and owner is not None:
        verdicts["Conflicted"] = yes("OlderWins", verdicts["Ready"].message)
    if decision is not None and target is not None:
        asked = decision.asked
        verdicts["PreScaled"] = _prescaled(declared, asked, pods.ready)
        verdicts["WithinMaximum"] = _within_maximum(declared, target)
        if acts:
            verdicts["CapacitySufficient"] = _capacity(window, declared, world, target, pods, now)
    return Assessment(window, now, to_do, declared, acts, decision, target, pods, previous, verdicts)


# ── what is to be done ───────────────────────────────────────────────────────────────────────────


def _bring_to_plan(
    window: BillingWindow,
    declared: Declared,
    world: World,
    target: Target | None,
    decision: Decision | None,
    now: datetime,
) -> tuple[Write, ...]:
    spec, plan = declared.spec, declared.plan
    held = raised_.held(window, now)
    to_do: list[Write] = []
    if held is not None and (held.kind, held.name) != spec.target:  # the target was changed while it was raised
        to_do += _lower(window, world, held, spec.drift_policy)
    wants = plan.now.replicas > spec.baseline.min_replicas
    works = decision is not None and decision.blocked is None
    if wants and works:
        note = Raised(*spec.target, spec.baseline.min_replicas, plan.idle_at)
        patch = raised_.hold(window, note)
        if patch is not None:
            to_do.append(Write(WINDOWS, window.metadata, patch))
    if decision is not None and target is not None and decision.writes:
        change = target.patch(decision.minimum)
        to_do.append(Write(target.resource, target.meta, change, True, decision.replaces_drift))
    foreign = target is None or target.foreign is not None
    if held is not None and not wants and (works or foreign):
        to_do.append(Write(WINDOWS, window.metadata, raised_.let_go(window)))
    return tuple(to_do)


def _give_back_when_over(
    window: BillingWindow, world: World, declared: Declared | Broken, now: datetime
) -> tuple[Write, ...]:
    held = raised_.held(window, now)
    if held is None or (now < held.until and not _has_heir(window, world, held)):
        return ()
    return _give_back(window, world, declared, now)


def _give_back(window: BillingWindow, world: World, declared: Declared | Broken, now: datetime) -> tuple[Write, ...]:
    """The target first, then the note; let go whatever becomes of the target."""
    held = raised_.held(window, now)
    if held is None:
        return ()
    unreadable = world.seen.why_unreadable(window.metadata.namespace, held.kind)
    if unreadable is not None and unreadable.status not in {403, 404}:
        return ()  # it will be readable again; a missing permission or kind would keep the window for ever
    policy = declared.spec.drift_policy if isinstance(declared, Declared) else DriftPolicy.RAISE
    return (*_lower(window, world, held, policy), Write(WINDOWS, window.metadata, raised_.let_go(window)))


def _lower(window: BillingWindow, world: World, held: Raised, policy: DriftPolicy) -> list[Write]:
    found = world.seen.targets.get((window.metadata.namespace, held.kind, held.name))
    if found is None or _has_heir(window, world, held):
        return []
    target = target_of(found)
    decision = decide(target, held.baseline, drift_policy=policy)
    if not decision.writes:
        return []
    return [Write(target.resource, target.meta, target.patch(decision.minimum), True, may_be_refused=True)]


def _has_heir(window: BillingWindow, world: World, held: Raised) -> bool:
    """Another acting BillingWindow has the target: what its minimum is to be is that one's affair."""
    owner = world.owners.get((window.metadata.namespace, held.kind, held.name))
    return owner is not None and owner != window.key


# ── what is to be said ───────────────────────────────────────────────────────────────────────────


def _ready(
    window: BillingWindow,
    declared: Declared,
    world: World,
    target: Target | None,
    decision: Decision | None,
    owner: tuple[str, str] | None,
) -> Verdict:
    spec = declared.spec
    unreadable = world.seen.why_unreadable(window.metadata.namespace, spec.target_ref.kind)
    verdict: Verdict
    if spec.mode is Mode.SUSPENDED:
        verdict = unknown("Suspended", "suspended: nothing is changed")
    elif unreadable is not None:
        verdict = no("TargetUnreadable", f"the {spec.target_ref.kind}s can't be listed: {unreadable}")
    elif target is None or decision is None:
        verdict = no("TargetNotFound", f"there is no {spec.target_ref.kind} {spec.target_ref.name}")
    elif spec.mode is Mode.PREVIEW:
        words = f"preview: the minimum of {target.name} is {target.minimum} and would be {decision.minimum}"
        verdict = yes("Preview", words)
    elif owner != window.key:
        verdict = no("Conflicted", f"{target.name} belongs to the older BillingWindow {owner[1] if owner else '?'}")
    elif decision.blocked is not None:
        verdict = no(decision.blocked.reason, decision.blocked.message)
    else:
        words = f"the minimum of {target.name} is {decision.minimum}"
        short = decision.short_of
        return yes("Clamped", f"{words}: {short.message}") if short is not None else yes("Applied", words)
    return verdict if owner == window.key else _with_what_stays(verdict, window, declared.plan.made_at)


def _with_what_stays(verdict: Verdict, window: BillingWindow, now: datetime) -> Verdict:
    held = raised_.held(window, now)
    if held is None:
        return verdict
    stays = f"what was raised stays until {held.until:%Y-%m-%d %H:%M} UTC and is then given back"
    return verdict._replace(message=f"{verdict.message}; {stays}")


def _window_verdicts(declared: Declared, now: datetime) -> Verdicts:
    plan, zone = declared.plan, declared.schedule.zones[0]
    opened, phase = plan.open_now, plan.now.phase.value
    if opened is not None:
        return {"WindowActive": yes(phase, f"{opened.window} is open until {wall(opened.end, zone)}")}
    following = next((o for o in plan.openings if o.start > now and not o.peak), None)
    words = f"{following.window} opens {wall(following.start, zone)}" if following else "no window opens in two months"
    return {"WindowActive": no(phase, words)}


def _prescaled(declared: Declared, asked: int, ready: int | None) -> Verdict:
    if declared.plan.now.phase in {Phase.IDLE, Phase.RAMP_DOWN}:
        return no("NotNeeded", "no window is open or about to open")
    if ready is None:
        return unknown("UnknownTarget", "how many pods are Ready can't be told")
    if ready >= asked:
        return yes("PodsReady", f"{asked} of {asked} Ready")
    return no("PodsNotReady", f"{ready} of {asked} Ready")


def _within_maximum(declared: Declared, target: Target) -> Verdict:
    highest = declared.schedule.highest
    words = f"the maximum of {target.name} is {target.maximum}; the plan asks for up to {highest}"
    return yes("Within", words) if highest <= target.maximum else no("MaxReplicasTooLow", words)


def _capacity(
    window: BillingWindow, declared: Declared, world: World, target: Target, pods: Pods, now: datetime
) -> Verdict:
    """First what Kubernetes says about pods that don't start, then what doesn't fit, last what is too slow."""
    asked = declared.asks(now)
    if asked is None:
        return unknown("NotChecked", "checked from a whole lead time before the first step on")
    if asked > target.maximum and declared.spec.max_replicas_policy is MaxReplicasPolicy.FAIL:
        return _wont_be(Shortage("MaxReplicasTooLow", _within_maximum(declared, target).message), declared, now)
    asked, ready = min(asked, target.maximum), pods.ready
    if ready is None:
        return unknown("UnknownTarget", "how many pods are Ready can't be told")
    if ready >= asked or declared.plan.now.phase is Phase.RAMP_DOWN:
        return yes("Sufficient", f"{asked} of {asked} pods are Ready" if ready >= asked else "fewer are needed")
    shortage = (
        stuck(pods.workload, target.scales.name, pods.live or ())
        or world.shortages.get(window.metadata.uid)
        or _too_slow(declared, target, ready, now)
    )
    return _wont_be(shortage, declared, now) if shortage is not None else _room(declared, world, pods, asked)


def _room(declared: Declared, world: World, pods: Pods, asked: int) -> Verdict:
    around = world.seen.around
    if around is None or pods.template is None:
        return unknown("NotReadYet", "pods, nodes and quotas are being read")
    words = f"nothing stands in the way of {asked} pods"
    if declared.spec.capacity.nodes == "Check" and not around.everywhere:
        words += "; the nodes are not checked: no permission to list nodes and all pods"
    return yes("Sufficient", words)


def _wont_be(shortage: Shortage, declared: Declared, now: datetime) -> Verdict:
    coming = _deadlines(declared, now)
    message = shortage.message
    if coming:
        at = wall(coming[0].start, declared.schedule.zones[0])
        message += f". {coming[0].window} needs {coming[0].replicas} pods at {at}"
    return no(shortage.reason, message)


def _deadlines(declared: Declared, now: datetime) -> list[Opening]:
    return [d for d in declared.plan.deadlines if now < d.start <= now + declared.horizon]


def _too_slow(declared: Declared, target: Target, ready: int, now: datetime) -> Shortage | None:
    soon = [d for d in _deadlines(declared, now) if d.start <= now + declared.lead / 2]
    late = next((d for d in soon if ready < min(d.replicas, target.maximum)), None)
    if late is None or declared.plan.now.phase is Phase.IDLE:
        return None
    return Shortage("StillStarting", f"only {ready} of {late.replicas} pods are Ready in half the lead time")


def wall(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%d %b %H:%M} ({zone})"
