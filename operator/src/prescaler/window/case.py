"""What is known of one BillingWindow in one look: what it declares, its target, its pods, and whose the target is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prescaler.kube.objects import BillingWindow
from prescaler.kube.see import Key, Seen
from prescaler.plan.planner import Opening, Plan
from prescaler.window.declared import Declared
from prescaler.window.minimum import Decision
from prescaler.window.pods import Pods
from prescaler.window.spec import Spec
from prescaler.window.status import Run
from prescaler.window.verdict import Fact, Verdict


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
    decision: Decision | None  # None: there is no target, or it can't be seen
    pods: Pods
    owner: tuple[str, str] | None
    history: Sequence[Run] = ()  # up to the look before

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

    @property
    def unreadable(self) -> Fact | None:
        """Why nobody can say whether there is a target."""
        kind = self.spec.target_ref.kind
        error = self.world.seen.why_unreadable(self.window.metadata.namespace, kind)
        return Fact("TargetUnreadable", f"the {kind}s can't be listed: {error}") if error is not None else None

    @property
    def no_target(self) -> Fact:
        """Why there is no decision."""
        ref = self.spec.target_ref
        return self.unreadable or Fact("TargetNotFound", f"there is no {ref.kind} {ref.name}")

    def within_maximum(self, opening: Opening) -> int:
        """How many pods it can get."""
        return min(opening.replicas, self.decision.target.maximum) if self.decision is not None else opening.replicas
