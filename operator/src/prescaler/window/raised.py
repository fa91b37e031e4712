"""What the operator has raised and must give back: an annotation, written in one request with the finalizer.

It says which target, to which baseline and when the raise is over. So a raise finds its way back although the spec was
changed, became invalid or was deleted meanwhile. It never decides whose minimum it is: that is what managedFields are for.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from prescaler.kube.objects import FINALIZER, RAISED, BillingWindow


class Raised(Struct, frozen=True):
    kind: str
    name: str
    baseline: int
    until: datetime


class _Ref(Struct):
    name: str
    kind: str = "HorizontalPodAutoscaler"


class _Baseline(Struct):
    min_replicas: int = msgspec.field(name="minReplicas")


class _Remains(Struct):
    """Of a spec that is invalid as a whole, what may still be read."""

    target: _Ref = msgspec.field(name="targetRef")
    baseline: _Baseline


def held(window: BillingWindow, now: datetime) -> Raised | None:
    """What is to be given back, if the finalizer is there. Without a readable annotation: what the spec says, now."""
    if FINALIZER not in window.metadata.finalizers:
        return None
    try:
        return msgspec.json.decode(window.metadata.annotations.get(RAISED, ""), type=Raised)
    except (msgspec.MsgspecError, OverflowError):
        pass
    try:
        remains = msgspec.convert(window.spec, _Remains)
    except (msgspec.MsgspecError, OverflowError):
        return Raised("", "", 1, now)
    return Raised(remains.target.kind, remains.target.name, max(0, min(remains.baseline.min_replicas, 10_000)), now)


def hold(window: BillingWindow, raised: Raised) -> dict[str, Any] | None:
    """The patch of the window before its target is raised; None when it is in place."""
    note = msgspec.json.encode(raised).decode()
    finalizers = window.metadata.finalizers
    if FINALIZER in finalizers and window.metadata.annotations.get(RAISED) == note:
        return None
    kept = [*finalizers, FINALIZER] if FINALIZER not in finalizers else finalizers
    return {"metadata": {"finalizers": kept, "annotations": {RAISED: note}}}


def let_go(window: BillingWindow) -> dict[str, Any]:
    """The patch of the window once there is nothing left to give back."""
    kept = [f for f in window.metadata.finalizers if f != FINALIZER]
    return {"metadata": {"finalizers": kept, "annotations": {RAISED: None}}}
