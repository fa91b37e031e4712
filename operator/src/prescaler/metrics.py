"""Every Prometheus object of the operator, and nothing else."""

from collections.abc import Callable, Iterator

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
CLOCK_SKEW = Gauge("prescaler_clock_skew_seconds", "How far this machine's clock is ahead of the API server's")
REQUESTS = Counter("prescaler_api_requests", "Requests to the API server", ["verb", "resource", "code"])
ERRORS = Counter(
    "prescaler_reconcile_errors", "What a pass could not finish, by the answer or by what was at fault", ["reason"]
)
DRIFT = Counter(
    "prescaler_drift_corrected", "Times somebody else's minimum was replaced", ["window_namespace", "window"]
)
WINDOWS = Gauge("prescaler_billing_windows", "BillingWindows seen in the last pass")
UNSEEN = Gauge("prescaler_unseen_namespaces", "Namespaces whose BillingWindows could not be listed in the last pass")


Figures = dict[tuple[str, ...], float]  # of one BillingWindow: (name, a label's value if it has one) -> value

PER_OBJECT = {
    "acting": "1 when the object's plan is to be carried out; 0 for Preview, Suspended, Conflicted",
    "desired_min_replicas": "The minimum that the plan asks for, within the target's maximum",
    "applied_min_replicas": "The minimum that the target has",
    "ready_pods": "Pods Ready",
    "ready_early_seconds": "How long before its start the last window or peak had its pods",
    "ready_time_p99_seconds": "From raising the minimum to the last pod Ready, p99",
    "next_opening_timestamp_seconds": "When the next window opens",
    "phase": "1 for the phase that the plan is in",
    "condition": "1 when the condition is True, 0 when it is False; absent when unknown",
}
LABELS = {"phase": ["phase"], "condition": ["type"]}


class PerObject(Collector):
    """Samples made from plain figures when they are asked for: a thousand objects would be 17 000 Prometheus objects.

    Only the leader has any: what another replica saw last is nobody's present.
    """

    def __init__(self) -> None:
        self.figures: dict[tuple[str, str], Figures] = {}
        self.leads: Callable[[], bool] = lambda: True

    def collect(self) -> Iterator[Metric]:
        families = {
            name: GaugeMetricFamily(
                f"prescaler_{name}", text, labels=["window_namespace", "window", *LABELS.get(name, ())]
            )
            for name, text in PER_OBJECT.items()
        }
        for key, figures in list(self.figures.items()) if self.leads() else ():
            for (name, *labels), value in figures.items():
                families[name].add_metric([*key, *labels], value)
        yield from families.values()


objects = PerObject()
REGISTRY.register(objects)
show = objects.figures.__setitem__


def follow(leads: Callable[[], bool]) -> None:
    """Ask at every scrape whether this replica leads: a Lease runs out by itself."""
    objects.leads = leads
    LEADER.set_function(lambda: float(leads()))


def forget(key: tuple[str, str]) -> None:
    """An object that is gone must not stay on dashboards."""
    objects.figures.pop(key, None)
    DRIFT.remove_by_labels({"window_namespace": key[0], "window": key[1]})


def forget_all() -> None:
    for key in list(objects.figures):
        forget(key)
