"""What to do about one HPA: which minimum it gets, or why it is left alone.

The HPA's own record of who set which field (`managedFields`) tells whether its minimum is the operator's or somebody
else's. It changes in the same write as the minimum itself, so no crash can separate the two, and nothing has to be
remembered.

Pure: the decision is returned, not carried out. The operator never fights the HPA, never scales from zero, and under
the policy Raise never lowers what somebody else has set.
"""

from dataclasses import dataclass
from typing import Any

from prescaler.objects import FIELD_MANAGER, GROUP, Hpa
from prescaler.spec import DriftPolicy, MaxReplicasPolicy, Spec

MAX_BEFORE = f"{GROUP}/max-replicas-before"


@dataclass(frozen=True, slots=True)
class Fact:
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`changes` is the patch, None when there is nothing to write; `minimum` is what holds once it is written."""

    changes: dict[str, Any] | None
    minimum: int
    blocked: Fact | None = None
    drift: Fact | None = None
    short_of: Fact | None = None

    @property
    def replaces_drift(self) -> bool:
        return self.changes is not None and self.drift is not None


def decide(spec: Spec, hpa: Hpa, wanted: int, last_applied: int | None) -> Decision:
    """`last_applied` only serves to tell people that somebody has interfered; it changes nothing that is done."""
    current = hpa.spec.min_replicas
    refused = _refusal(hpa)
    if refused is not None:
        return Decision(None, current, blocked=refused)
    target, maximum, short_of = _within_maximum(spec, hpa, wanted)
    if short_of is not None and spec.max_replicas_policy is MaxReplicasPolicy.FAIL:
        return Decision(None, current, blocked=short_of, short_of=short_of)
    others = _others(hpa)
    kept = _kept(spec, current, target, others)
    if kept is not None:
        return Decision(None, current, drift=kept, short_of=short_of)
    changes: dict[str, Any] = {}
    if target != current:
        changes["spec"] = {"minReplicas": target}
    if maximum is not None:
        changes.setdefault("spec", {})["maxReplicas"] = maximum
        raised = maximum > hpa.spec.max_replicas
        before = hpa.metadata.annotations.get(MAX_BEFORE, str(hpa.spec.max_replicas)) if raised else None
        changes["metadata"] = {"annotations": {MAX_BEFORE: before}}
    drift = None
    if target != current and others and last_applied == target:
        drift = Fact("Overwritten", f"{_names(others)} had set minReplicas to {current}; it is {target} again")
    return Decision(changes or None, target, drift=drift, short_of=short_of)


def release(spec: Spec, hpa: Hpa) -> dict[str, Any] | None:
    """The patch that gives the HPA back; None when there is nothing to give back, or it is somebody else's by now."""
    decision = decide(spec, hpa, spec.baseline.min_replicas, None)
    return decision.changes


def _refusal(hpa: Hpa) -> Fact | None:
    name = hpa.metadata.name
    if any(owner.kind == "ScaledObject" for owner in hpa.metadata.owner_references) or (
        hpa.metadata.labels.get("app.kubernetes.io/managed-by") == "keda-operator"
    ):
        return Fact("OwnedByKeda", f"HPA {name} belongs to KEDA, which would undo every change; use its ScaledObject")
    if any(c.type == "ScalingActive" and c.reason == "ScalingDisabled" for c in hpa.status.conditions):
        what = f"{hpa.spec.scale_target_ref.kind} {hpa.spec.scale_target_ref.name}"
        return Fact("TargetAtZero", f"{what} is at 0 replicas, so its HPA is off; scale it to 1 to switch it on again")
    return None


def _within_maximum(spec: Spec, hpa: Hpa, wanted: int) -> tuple[int, int | None, Fact | None]:
    """(minimum, new maxReplicas or None, what falls short)."""
    maximum = hpa.spec.max_replicas
    before = int(hpa.metadata.annotations.get(MAX_BEFORE, maximum))
    if spec.max_replicas_policy is MaxReplicasPolicy.RAISE and spec.max_replicas_ceiling is not None:
        allowed = max(before, min(wanted, spec.max_replicas_ceiling))
        target = min(wanted, allowed)
        changed = None if allowed == maximum else allowed
        limit = f"maxReplicasCeiling is {spec.max_replicas_ceiling}"
    else:
        target, changed, limit = min(wanted, maximum), None, f"maxReplicas of HPA {hpa.metadata.name} is {maximum}"
    if target == wanted:
        return target, changed, None
    return target, changed, Fact("MaxReplicasTooLow", f"{limit}, and the plan asks for {wanted}")


def _kept(spec: Spec, current: int, target: int, others: set[str]) -> Fact | None:
    """Why somebody else's minimum stays, if it does."""
    if current == target or not others:
        return None
    fact = f"minReplicas is {current}, set by {_names(others)}; the plan asks for {target}"
    if spec.drift_policy is DriftPolicy.RAISE and current > target:
        return Fact("HigherMinimumKept", f"{fact}. It is left alone (driftPolicy: Raise)")
    if spec.drift_policy is DriftPolicy.YIELD and current != spec.baseline.min_replicas:
        return Fact("Yielded", f"{fact}. It is left alone (driftPolicy: Yield) until it is the baseline again")
    return None


def _others(hpa: Hpa) -> set[str]:
    """Who else answers for the present minimum: nobody for a defaulted 1, an unknown somebody for any other orphan."""
    holders = {m.manager for m in hpa.metadata.managed_fields if m.fields.spec.min_replicas is not None}
    if not holders and hpa.spec.min_replicas > 1:
        return {"an unknown manager"}
    return holders - {FIELD_MANAGER}


def _names(managers: set[str]) -> str:
    return " and ".join(sorted(managers))
