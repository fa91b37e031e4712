"""Every Prometheus object of the service, and the page that shows them.

One module, so that names, units and labels can be read (and kept stable) in one place. Hot-path labels are few, and
what can be observed once a batch is not observed once a request.
"""

from __future__ import annotations

import collections
import os
from bisect import bisect_left
from collections import defaultdict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from energy import __version__

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
REQUESTS = Counter("energy_requests", "Requests answered.", ["route", "status"])
REQUEST_SECONDS = Histogram(
    "energy_request_seconds",
    "From a request's headers to the first byte of its answer.",
    ["route"],
    buckets=_REQUEST_BUCKETS,
)
LOOP_LAG_SECONDS = Histogram(
    "energy_loop_lag_seconds",
    "How late the event loop comes back to a timer: what requests wait for each other's work.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
READINGS = Counter("energy_readings", "Readings settled, by what became of them.", ["outcome"])
FLAGGED = Counter("energy_flagged", "Stored readings that carry a flag.", ["flag"])
REJUDGED = Counter(
    "energy_rejudged", "Stored readings whose flags changed because another one took a place before them."
)
NOT_REJUDGED = Counter("energy_not_rejudged", "Readings around which flags were not looked at again: too many waited.")
SHED = Counter("energy_shed", "Requests refused before any work was done for them.", ["reason"])
UNKNOWN_OUTCOMES = Counter(
    "energy_unknown_outcomes", "Readings that may be stored or not: the outcome was unknown at the deadline."
)
COMMIT_RETRIES = Counter(
    "energy_commit_retries", "Attempts to commit a batch that failed and may be repeated, by why.", ["reason"]
)
CONNECTION_WAIT_SECONDS = Histogram(
    "energy_database_connection_wait_seconds",
    "From asking for a connection to having one, a new one included.",
    ["pool"],
    buckets=(0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10),
)
LOOKUPS = Counter(
    "energy_lookups",
    "Keys and devices looked up, by what came of it (`stale`: answered from memory).",
    ["what", "result"],
)
LOOKUP_SECONDS = Histogram(
    "energy_lookup_seconds", "From asking the database for keys or devices to its answer.", ["what"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5),
)  # fmt: skip
COMMIT_SECONDS = Histogram(
    "energy_commit_seconds",
    "From sending a batch to its COMMIT.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_ROWS = Histogram(
    "energy_batch_rows",
    "Readings in one statement.",
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000),
)
QUEUE_ROWS = Gauge("energy_queue_rows", "Readings waiting for a lane.", multiprocess_mode="livesum")
QUEUE_AGE_SECONDS = Gauge(
    "energy_queue_age_seconds", "How long the oldest reading has been waiting.", multiprocess_mode="livemax"
)
CONNECTIONS = Gauge(
    "energy_database_connections", "Connections to the database.", ["state"], multiprocess_mode="livesum"
)
REPLICA_LAG_SECONDS = Gauge(
    "energy_replica_lag_seconds", "How far the read replica is behind.", multiprocess_mode="livemax"
)
HISTORY_READS = Counter("energy_history_reads", "Pages of history, by where they were read.", ["read_from"])
_BUILD = Gauge("energy_build_info", "The running version.", ["version"], multiprocess_mode="livemax")
_BUILD.labels(__version__).set(1)


answered: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
"""Route and status -> seconds of each answer of the last second. One by one, counting them would cost a tenth of a reading."""


def count_answered() -> None:
    """Counts what was answered; called once per second, and before anybody looks."""
    for (route, status), waiting in answered.items():
        REQUESTS.labels(route, str(status)).inc(len(waiting))
        histogram = REQUEST_SECONDS.labels(route)
        histogram._sum.inc(sum(waiting))  # noqa: SLF001 - as `observe` does for one: the library has nothing for many
        for bucket, count in collections.Counter(bisect_left(_REQUEST_BUCKETS, seconds) for seconds in waiting).items():
            histogram._buckets[bucket].inc(count)  # noqa: SLF001 - as above
        waiting.clear()


def page() -> bytes:
    """The metrics in the Prometheus text format; of all processes where several share a directory."""
    count_answered()
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    return generate_latest(registry)
