"""What to do about one target: which minimum it gets, or why it is left alone.

A target is an HPA or a ScaledObject of KEDA. Its own record of who set which field (`managedFields`) tells whether its
minimum is the operator's or somebody else's. It changes in the same write as the minimum itself, so no crash can separate
the two, and nothing has to be remembered.

Pure: the decision is returned, not carried out. Only the minimum is ever written. The operator never scales an HPA from
zero, and under the policy Raise never lowers what somebody else has set.
"""

from dataclasses import dataclass
from typing import Any

from prescaler.kube.client import Kind
from prescaler.kube.objects import FIELD_MANAGER, Hpa, Meta, ScaledObject, ScaleTargetRef
from prescaler.kube.see import TARGET_KINDS
from prescaler.window.spec import DriftPolicy, MaxReplicasPolicy
from prescaler.window.verdict import Fact

KEDA_MAX_REPLICAS = 100  # KEDA's own default
PAUSED = ("autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas")


@dataclass(frozen=True, slots=True)
class Target:
    """What an HPA and a ScaledObject have in common."""

    kind: str
    meta: Meta
    minimum: int
    maximum: int
    holders: frozenset[str]  # who else answers for the present minimum
    scales: ScaleTargetRef
    replicas: int | None = None
    foreign: Fact | None = None  # it is another controller's: never touched
    off: Fact | None = None  # raising it would do nothing

    @property
    def name(self) -> str:
        return f"{'HPA' if self.kind == 'HorizontalPodAutoscaler' else self.kind} {self.meta.name}"

    @property
    def resource(self) -> Kind[Any]:
        return TARGET_KINDS[self.kind]

    def patch(self, minimum: int) -> dict[str, Any]:
        field = "minReplicas" if self.kind == "HorizontalPodAutoscaler" else "minReplicaCount"
        return {"spec": {field: minimum}}


@dataclass(frozen=True, slots=True)
class Decision:
    """`minimum` is what holds once it is done; `asked` what the plan wants, within the target's maximum."""

    target: Target
    minimum: int
    asked: int
    writes: bool = False
    blocked: Fact | None = None
    drift: Fact | None = None
    short_of: Fact | None = None


def target_of(found: Hpa | ScaledObject) -> Target:
    if isinstance(found, ScaledObject):
        minimum = found.spec.min_replica_count or 0
        paused = [key for key in PAUSED if found.metadata.annotations.get(key, "false") != "false"]
        off = Fact("TargetPaused", f"KEDA is paused for it by the annotation {paused[0]}") if paused else None
        return Target(
            kind="ScaledObject",
            meta=found.metadata,
            minimum=minimum,
            maximum=found.spec.max_replica_count or KEDA_MAX_REPLICAS,
            holders=_holders(found.metadata, orphaned=minimum > 0),
            scales=found.spec.scale_target_ref,
            off=off,
        )
    return Target(
        kind="HorizontalPodAutoscaler",
        meta=found.metadata,
        minimum=found.spec.min_replicas,
        maximum=found.spec.max_replicas,
        holders=_holders(found.metadata, orphaned=found.spec.min_replicas > 1),
        scales=found.spec.scale_target_ref,
        replicas=found.status.current_replicas,
        foreign=_of_keda(found),
        off=_at_zero(found),
    )


def decide(
    target: Target,
    wanted: int,
    *,
    drift_policy: DriftPolicy = DriftPolicy.RAISE,
    max_policy: MaxReplicasPolicy = MaxReplicasPolicy.CLAMP,
    last_applied: int | None = None,
) -> Decision:
    """`last_applied` only serves to tell people that somebody has interfered; it changes nothing that is done."""
    current, asked = target.minimum, min(wanted, target.maximum)
    short_of: Fact | None = None
    if asked < wanted:
        words = f"the maximum of {target.name} is {target.maximum}, and the plan asks for {wanted}"
        short_of = Fact("MaxReplicasTooLow", words)
    blocked = target.foreign or (target.off if asked > current else None)
    if blocked is None and max_policy is MaxReplicasPolicy.FAIL:
        blocked = short_of
    if blocked is not None:
        return Decision(target, current, asked, blocked=blocked, short_of=short_of)
    if drift_policy is DriftPolicy.RAISE and current > asked and target.holders:
        kept = f"the minimum is {current}, set by {_names(target.holders)}; the plan asks for {asked}"
        higher = Fact("HigherMinimumKept", f"{kept}. It is left alone (driftPolicy: Raise)")
        return Decision(target, current, asked, drift=higher, short_of=short_of)
    drift: Fact | None = None
    if asked != current and target.holders and last_applied == asked:
        words = f"{_names(target.holders)} had set the minimum to {current}; it is {asked} again"
        drift = Fact("Overwritten", words)
    return Decision(target, asked, asked, writes=asked != current, drift=drift, short_of=short_of)


def _holders(meta: Meta, *, orphaned: bool) -> frozenset[str]:
    """Nobody for a default, an unknown somebody for any other value without an owner."""
    named = {
        m.manager
        for m in meta.managed_fields
        if m.fields.spec.min_replicas is not None or m.fields.spec.min_replica_count is not None
    }
    return frozenset({"an unknown manager"} if not named and orphaned else named - {FIELD_MANAGER})


def _of_keda(hpa: Hpa) -> Fact | None:
    owned = any(owner.kind == "ScaledObject" for owner in hpa.metadata.owner_references)
    if not owned and hpa.metadata.labels.get("app.kubernetes.io/managed-by") != "keda-operator":
        return None
    words = "belongs to KEDA, which would undo every change; name its ScaledObject as the target instead"
    return Fact("OwnedByKeda", f"HPA {hpa.metadata.name} {words}")


def _at_zero(hpa: Hpa) -> Fact | None:
    if not any(c.type == "ScalingActive" and c.reason == "ScalingDisabled" for c in hpa.status.conditions):
        return None
    what = f"{hpa.spec.scale_target_ref.kind} {hpa.spec.scale_target_ref.name}"
    return Fact("TargetAtZero", f"{what} is at 0 replicas, so its HPA is off; scale it to 1 to switch it on again")


def _names(managers: frozenset[str]) -> str:
    return " and ".join(sorted(managers))
