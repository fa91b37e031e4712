"""Every Prometheus object of the operator, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

TICKS = Counter("prescaler_ticks", "Passes over all BillingWindows", ["outcome"])
TICK_SECONDS = Histogram(
    "prescaler_tick_seconds",
    "Duration of a pass over all BillingWindows",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LAST_TICK = Gauge("prescaler_last_tick_timestamp_seconds", "When the last pass ended, by the real clock")
LEADER = Gauge("prescaler_leader", "1 while this replica holds the Lease and acts")
CLOCK_OFFSET = Gauge("prescaler_clock_offset_seconds", "How far a rehearsal clock is ahead; 0 in production")
REQUESTS = Counter("prescaler_api_requests", "Requests to the API server", ["verb", "resource", "code"])
ERRORS = Counter("prescaler_reconcile_errors", "BillingWindows that a pass could not finish", ["reason"])
DRIFT = Counter(
    "prescaler_drift_corrected", "Times somebody else's minimum was replaced", ["window_namespace", "window"]
)

WINDOWS = Gauge("prescaler_billing_windows", "BillingWindows seen in the last pass")


@dataclass(slots=True)
class Figures:
    """What is told about one BillingWindow."""

    phase: str
    desired: int
    applied: int | None
    ready: int | None
    next_opening: datetime | None
    conditions: dict[str, bool]


class _PerObject(Collector):
    """Samples made from plain figures when they are asked for: a thousand objects would be 17 000 Prometheus objects."""

    def __init__(self) -> None:
        self.figures: dict[tuple[str, str], Figures] = {}

    def collect(self) -> Iterator[Metric]:
        def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"prescaler_{name}", text, labels=["window_namespace", "window", *labels])

        desired = gauge("desired_min_replicas", "The minimum that the plan asks for")
        applied = gauge("applied_min_replicas", "The minimum that the HPA has")
        ready = gauge("ready_pods", "Pods Ready, outside Idle")
        opening = gauge("next_opening_timestamp_seconds", "When the next window opens")
        phase = gauge("phase", "1 for the phase that the plan is in", "phase")
        condition = gauge("condition", "1 when the condition is True", "type")
        for key, figures in self.figures.items():
            desired.add_metric(key, figures.desired)
            phase.add_metric([*key, figures.phase], 1)
            if figures.applied is not None:
                applied.add_metric(key, figures.applied)
            if figures.ready is not None:
                ready.add_metric(key, figures.ready)
            if figures.next_opening is not None:
                opening.add_metric(key, figures.next_opening.timestamp())
            for kind, holds in figures.conditions.items():
                condition.add_metric([*key, kind], holds)
        yield from (desired, applied, ready, opening, phase, condition)


_objects = _PerObject()
REGISTRY.register(_objects)
show = _objects.figures.__setitem__


def forget(key: tuple[str, str]) -> None:
    """An object that is gone must not stay on dashboards."""
    _objects.figures.pop(key, None)
    DRIFT.remove_by_labels({"window_namespace": key[0], "window": key[1]})
