"""Every Prometheus object of the operator, and nothing else."""

from prometheus_client import Counter, Gauge, Histogram

_OBJECT = ("namespace", "name")

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
DRIFT = Counter("prescaler_drift_corrected", "Times somebody else's minimum was replaced", _OBJECT)

WINDOWS = Gauge("prescaler_billing_windows", "BillingWindows seen in the last pass")
DESIRED = Gauge("prescaler_desired_min_replicas", "The minimum that the plan asks for", _OBJECT)
APPLIED = Gauge("prescaler_applied_min_replicas", "The minimum that the HPA has", _OBJECT)
READY_PODS = Gauge("prescaler_ready_pods", "Pods Ready, outside Idle", _OBJECT)
PHASE = Gauge("prescaler_phase", "1 for the phase that the plan is in", [*_OBJECT, "phase"])
CONDITION = Gauge("prescaler_condition", "1 when the condition is True, 0 when False", [*_OBJECT, "type"])
NEXT_OPENING = Gauge("prescaler_next_opening_timestamp_seconds", "When the next window opens", _OBJECT)


def forget(namespace: str, name: str) -> None:
    """An object that is gone must not stay on dashboards."""
    for gauge in (DESIRED, APPLIED, READY_PODS, NEXT_OPENING, PHASE, CONDITION, DRIFT):
        gauge.remove_by_labels({"namespace": namespace, "name": name})
