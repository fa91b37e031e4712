"""Figures in running text: a page marks the place, `make reference` writes the number there, a test says when one is stale.

    one replica took <!--=peak.acknowledged-->60,001<!--/--> readings

So prose cannot disagree with docs/measured, with the chart's values or with itself, and a new measurement renews every page at once.
Pages in Russian get their own way to write numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from energy.settings import Settings
from prescaler.plan.planner import state_at, transitions
from prescaler.plan.schedule import Schedule
from prescaler.window.spec import parse

ROOT = Path(__file__).parents[1]
MARK = re.compile(r"<!--=([\w.]+)-->([^<]*)<!--/-->")
READINGS_A_METER = 1.52  # a month: as many as the imported fleet has, most meters have one register and some have two
READINGS_A_POD = 1_000  # a second, for which the chart and docs/capacity.md plan a pod with one core
SECONDS_OF_THE_WINDOW = 12 * 24 * 3600
YEAR, MONTH, HOURS = 2026, 12, 744  # the month that pages show
VCPU_HOUR, GIB_HOUR, GB_MONTH = 1.2, 0.35, 12.0  # roubles, assumed: docs/solution.md says so
Number = tuple[float, int]  # the value, and how many decimals are shown (-1: whole tens)


@lru_cache
def measured(name: str) -> Any:
    """A file of docs/measured."""
    return json.loads((ROOT / f"docs/measured/{name}.json").read_text())


@lru_cache
def chart() -> Any:
    """The chart's values."""
    return yaml.safe_load((ROOT / "helm/energy/values.yaml").read_text())


def _verdict(file: str, name: str) -> Number:
    return measured(file)["verdict"][name], 0


def _words(file: str, figure: str, pattern: str) -> Number:
    """A number out of a report's line, such as "median 3.5 ms, p99 17.7 ms"."""
    (found,) = re.findall(pattern, measured(file)["figures"][figure])
    return float(found.replace(",", "")), len(found.partition(".")[2])


def _row(file: str, label: str) -> Any:
    return next(row for row in measured(file)["rows"] if row["label"] == label)


def _rate(label: str) -> Number:
    return _row("scale", label)["readings_per_s"], 0


def _p99(file: str, label: str) -> Number:
    return float(_row(file, label)["p99"].removesuffix(" ms").replace(",", "")), 0


def _tail(file: str, label: str) -> Number:
    return _row(file, label)["tail_s"], 2


def _cpu(whose: str, label: str) -> float:
    """Microseconds of processor time per request."""
    return float(_row("edge", label)[whose].replace(",", ""))


def _points(what: str, clients: int | None = None) -> list[dict[str, Any]]:
    return [
        point
        for point in measured("bench")["points"]
        if point["what"] == what and point["concurrency"] == (clients or point["concurrency"])
    ]


def _bench(choose: Callable[[list[float]], float], what: str, clients: int) -> Number:
    return choose([point["rate"] for point in _points(what, clients)]), 0


def _shares(choose: Callable[[list[float]], float], *clients: int) -> Number:
    """Single readings as a share of what the same server does without a database, in per cent."""
    pairs = [
        pair
        for number in clients
        for pair in zip(_points("whole path", number), _points("ceiling", number), strict=True)
    ]
    return choose([100 * path["rate"] / ceiling["rate"] for path, ceiling in pairs]), 0


def _survived(choose: Callable[[list[float]], float], figure: str) -> Number:
    """Of the faults that must lose nothing; the control must."""
    return choose([row[figure] for row in measured("cnpg")["faults"] if not row["fault"].startswith("control")]), 0


def _memory(choose: Callable[[list[float]], float]) -> Number:
    return choose([point["rss_mib"] for point in measured("bench")["points"] if point["rss_mib"]]), 0


def _bytes_a(kind: str) -> float:
    fleet = measured("fleet-import")
    return float(fleet[f"{kind}_bytes"] / fleet[kind])


def _gigabytes_a_year(meters: float) -> Number:
    size = _bytes_a("readings") * READINGS_A_METER * 12 * meters / 1e9
    return size, 1 if size < 10 else 0


def _default(setting: str) -> int:
    return int(Settings.model_fields[setting].default)


def planned() -> Schedule:
    """The schedule of the chart's own BillingWindow."""
    spec = chart()["operator"]["billingWindow"]["spec"]
    baseline = {"minReplicas": chart()["autoscaling"]["minReplicas"]}
    return parse({"targetRef": {"name": "energy"}, "baseline": baseline, **spec}).schedule(())


def _pod_hours() -> float:
    """Of the month that pages show: hours times minimum, over the changes that `prescaler plan` prints."""
    schedule = planned()
    since, until = (datetime(*month, 1, tzinfo=schedule.zones[0]) for month in ((YEAR, MONTH), (YEAR + 1, 1)))
    changes = [(since, state_at(schedule, since)), *transitions(schedule, since, until)]
    ends = [*(at for at, _ in changes[1:]), until]
    return sum(
        (end - at).total_seconds() / 3600 * state.replicas for (at, state), end in zip(changes, ends, strict=True)
    )


def _roubles(cpu_hours: float, gib_hours: float, gb_months: float = 0) -> float:
    return cpu_hours * VCPU_HOUR + gib_hours * GIB_HOUR + gb_months * GB_MONTH


def _pods_cost(hours: float) -> float:
    return _roubles(hours, hours / 4)


def _database_cost() -> float:
    """A primary and a standby of 4 vCPU and 16 GiB, 100 GB each."""
    return _roubles(2 * HOURS * 4, 2 * HOURS * 16, 2 * 100)


def _window() -> Any:
    return chart()["operator"]["billingWindow"]["spec"]["windows"][0]


FIGURES: dict[str, Callable[[], Number]] = {
    "peak.acknowledged": lambda: _verdict("peak", "acknowledged"),
    "peak.p99_ms": lambda: _words("peak", "Time until acknowledged", r"p99 ([\d.,]+)"),
    "peak.memory_mib": lambda: _words("peak", "Memory", r"([\d.,]+) MiB"),
    "spike.stored": lambda: _verdict("spike", "acknowledged"),
    "spike.shed": lambda: _verdict("spike", "shed"),
    "spike.p99_ms": lambda: _words("spike", "Time until acknowledged", r"p99 ([\d.,]+)"),
    "overload.stored": lambda: _verdict("spike-sequential", "acknowledged"),
    "overload.shed": lambda: _verdict("spike-sequential", "shed"),
    "overload.lost": lambda: _verdict("spike-sequential", "lost"),
    "overload.shed_median_ms": lambda: _words("spike-sequential", "Time until shed", r"median ([\d.,]+)"),
    "overload.shed_p99_ms": lambda: _words("spike-sequential", "Time until shed", r"p99 ([\d.,]+)"),
    "scale.single_1": lambda: _rate("1 replica, single readings"),
    "scale.single_2": lambda: _rate("2 replicas, single readings"),
    "scale.single_4": lambda: _rate("4 replicas, single readings"),
    "scale.batch_1": lambda: _rate("batches of 1"),
    "scale.batch_10": lambda: _rate("batches of 10"),
    "scale.batch_100": lambda: _rate("batches of 100"),
    "scale.batch_1000": lambda: _rate("batches of 1,000"),
    "scale.batch_10000": lambda: _rate("batches of 10,000"),
    "scale.batch_gain": lambda: (_rate("batches of 1,000")[0] / _rate("1 replica, single readings")[0], 0),
    "compare.parallel_tail_s": lambda: _tail("compare", "parallel on PostgreSQL"),
    "compare.group_tail_s": lambda: _tail("compare", "group on PostgreSQL"),
    "compare.parallel_p99_ms": lambda: _p99("compare", "parallel on PostgreSQL"),
    "compare.group_p99_ms": lambda: _p99("compare", "group on PostgreSQL"),
    "bench.single_min": lambda: _bench(min, "whole path", 256),
    "bench.single_max": lambda: _bench(max, "whole path", 256),
    "bench.share_min": lambda: _shares(min, 32, 256),
    "bench.share_max": lambda: _shares(max, 32, 256),
    "bench.memory_min_mib": lambda: _memory(min),
    "bench.memory_max_mib": lambda: _memory(max),
    "fleet.meters": lambda: (measured("fleet-import")["meters"], 0),
    "fleet.readings": lambda: (measured("fleet-import")["readings"], 0),
    "fleet.meters_s": lambda: (measured("fleet-import")["meters_s"], 1),
    "fleet.readings_s": lambda: (measured("fleet-import")["readings_s"], 1),
    "fleet.readings_mb": lambda: (measured("fleet-import")["readings_bytes"] / 1e6, 0),
    "fleet.meters_mb": lambda: (measured("fleet-import")["meters_bytes"] / 1e6, 0),
    "fleet.bytes_a_reading": lambda: (_bytes_a("readings"), 0),
    "fleet.bytes_a_meter": lambda: (_bytes_a("meters"), 0),
    "story.sent": lambda: _verdict("story", "sent"),
    "story.acknowledged": lambda: _verdict("story", "acknowledged"),
    "story.refused": lambda: _verdict("story", "refused"),
    "story.lost": lambda: _verdict("story", "lost"),
    "story.pods_ready": lambda: _words("story", "Pods Ready", r"(\d+) at most"),
    "cluster_peak.rate": lambda: _words("cluster-peak", "Readings stored a second", r"([\d.,]+) mean"),
    "edge.new_tls_us": lambda: (_cpu("edge", "HTTPS, a connection for each reading"), 0),
    "edge.reused_tls_us": lambda: (_cpu("edge", "HTTPS, connections reused"), 0),
    "edge.handshake_us": lambda: (_cpu("edge", "HTTPS, a connection for each reading") - _cpu("edge", "HTTPS, connections reused"), 0),
    "edge.service_new_us": lambda: (_cpu("service", "HTTP, a connection for each reading"), 0),
    "edge.service_reused_us": lambda: (_cpu("service", "HTTP, connections reused"), 0),
    "edge.new_tls_p99_ms": lambda: _p99("edge", "HTTPS, a connection for each reading"),
    "edge.reused_p99_ms": lambda: _p99("edge", "HTTP, connections reused"),
    "edge.cores_1000": lambda: (_cpu("edge", "HTTPS, a connection for each reading") / 1e3, 1),
    "kill.acknowledged": lambda: (measured("kill")["acknowledged"], 0),
    "kill.lost": lambda: (measured("kill")["lost"], 0),
    "kill.service_away_s": lambda: (measured("kill")["service_away_s"], 1),
    "kill.database_away_s": lambda: (measured("kill")["database_away_s"], 1),
    "power.cuts": lambda: (measured("power-cuts")["cuts"], 0),
    "power.acknowledged": lambda: (measured("power-cuts")["acknowledged"], 0),
    "power.lost": lambda: (measured("power-cuts")["lost"], 0),
    "cnpg.acknowledged": lambda: _survived(sum, "acknowledged"),
    "cnpg.lost": lambda: _survived(sum, "lost"),
    "cnpg.node_gap_s": lambda: (_survived(max, "longest_gap_s")[0], 0),
    "cnpg.control_lost": lambda: (sum(row["lost"] for row in measured("cnpg")["faults"] if row["fault"].startswith("control")), 0),
    "year.gb_1m": lambda: _gigabytes_a_year(1e6),
    "year.gb_10m": lambda: _gigabytes_a_year(1e7),
    "year.gb_100m": lambda: _gigabytes_a_year(1e8),
    **{f"years.gb_{n}m": (lambda n=n: (6 * _gigabytes_a_year(n * 1e6)[0], 0)) for n in (1, 10, 100)},  # type: ignore[misc]  # as below
    "month.average_1m": lambda: (READINGS_A_METER * 1e6 / SECONDS_OF_THE_WINDOW, 1),
    "month.average_10m": lambda: (READINGS_A_METER * 1e7 / SECONDS_OF_THE_WINDOW, 0),
    "month.average_100m": lambda: (READINGS_A_METER * 1e8 / SECONDS_OF_THE_WINDOW, 0),
    "month.peak_to_average": lambda: (1e3 * SECONDS_OF_THE_WINDOW / (READINGS_A_METER * 1e6), -1),
    "pod.connections_write": lambda: (_default("database_connections_max"), 0),
    "pod.connections_read": lambda: (_default("database_read_connections_max"), 0),
    "pod.connections": lambda: (_default("database_connections_max") + _default("database_read_connections_max") + 1, 0),
    "plan.pod_hours": lambda: (_pod_hours(), 0),
    "plan.pod_hours_peak": lambda: (HOURS * _window()["peaks"][0]["minReplicas"], 0),
    "plan.pod_hours_quiet": lambda: (HOURS * chart()["autoscaling"]["minReplicas"], 0),
    "cost.pods": lambda: (_pods_cost(_pod_hours()), 0),
    "cost.pods_peak": lambda: (_pods_cost(FIGURES["plan.pod_hours_peak"]()[0]), 0),
    "cost.database": lambda: (_database_cost(), 0),
    "cost.all": lambda: (_pods_cost(_pod_hours()) + _database_cost(), 0),
    "cost.saved": lambda: (_pods_cost(FIGURES["plan.pod_hours_peak"]()[0] - _pod_hours()), -2),
    "chart.quiet_pods": lambda: (chart()["autoscaling"]["minReplicas"], 0),
    "chart.window_pods": lambda: (_window()["minReplicas"], 0),
    "chart.peak_pods": lambda: (_window()["peaks"][0]["minReplicas"], 0),
    "chart.max_pods": lambda: (chart()["autoscaling"]["maxReplicas"], 0),
    "chart.connection_budget": lambda: (chart()["database"]["connectionBudget"], 0),
    **{
        f"seed.test{test}_{replicas}_{what}": (lambda label=label, read=read: read("seed-tests", label))  # type: ignore[misc]  # a lambda's defaults cannot be annotated
        for test, asked in {1: "200/s parallel", 2: "300/s sequential", 3: "1000/s sequential", 4: "1000/s parallel"}.items()
        for replicas, word in {1: "1 replica", 5: "5 replicas"}.items()
        for what, read in {"tail_s": _tail, "p99_ms": _p99}.items()
        for label in [f"Test {test}: {asked}, {word}"]
    },
    "seed.beyond_p99_ms": lambda: _p99("seed-tests", "Beyond: 3000/s group, 1 replica"),
}  # fmt: skip


def written(name: str, *, russian: bool) -> str:
    """A figure as a page of that language has it."""
    value, decimals = FIGURES[name]()
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}"
    return text.translate({ord(","): "\u00a0", ord("."): ","}) if russian else text


def filled(page: str, text: str) -> str:
    """A page's text with every marked figure as it is now."""
    return MARK.sub(lambda mark: f"<!--={mark[1]}-->{written(mark[1], russian=page.endswith('.ru.md'))}<!--/-->", text)


def pages_with_figures() -> list[Path]:
    """Every page that has a mark."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [path for path in found if MARK.search(path.read_text())]
