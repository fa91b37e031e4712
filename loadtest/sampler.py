"""Looks at the service, the generator and the cluster once a second while the load runs, and writes down what it sees.

One JSON line a look, written at once: what was seen before something died stays. What cannot be reached is left out of the
line; a hole in the pictures is the truth. Judges nothing.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

LOOK_TIMEOUT_S = 2.0
PLAIN = {
    "energy_queue_rows": "queue_rows",
    "energy_queue_age_seconds": "queue_age_s",
    "energy_commit_seconds_sum": "commit_sum_s",
    "energy_commit_seconds_count": "commits",
    "energy_batch_rows_sum": "batch_rows",
    "process_resident_memory_bytes": "rss_bytes",
    "process_cpu_seconds_total": "cpu_s",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What to watch with kubectl."""

    namespace: str
    hpa: str
    pod_selector: str


class Sampler(threading.Thread):
    """Runs from `start` until `stop`."""

    def __init__(
        self, path: Path, base_urls: tuple[str, ...], k6_api: str, every_s: float, cluster: Cluster | None
    ) -> None:
        super().__init__(name="sampler", daemon=True)
        self._path, self._base_urls, self._k6_api, self._every_s, self._cluster = (
            path,
            base_urls,
            k6_api,
            every_s,
            cluster,
        )
        self._done = threading.Event()

    def stop(self) -> None:
        """Returns when the last line is written."""
        self._done.set()
        self.join()

    def run(self) -> None:
        with self._path.open("a", buffering=1) as out:
            while not self._done.wait(self._every_s):
                out.write(json.dumps(self.look()) + "\n")

    def look(self) -> dict[str, Any]:
        """One sample of everything there is."""
        sample: dict[str, Any] = {"ms": round(time.time() * 1000), "pods": {}}
        urls = dict(enumerate(self._base_urls))
        if self._cluster:
            sample |= _attempt(lambda: look_at_cluster(self._cluster)) or {}  # type: ignore[arg-type]  # not None here
            urls = sample.pop("addresses", {})
        for name, url in urls.items():
            if page := _attempt(lambda url=url: _get(f"{url}/metrics")):  # type: ignore[misc]  # mypy cannot type the default
                sample["pods"][str(name)] = service_figures(page)
        if page := _attempt(lambda: _get(f"http://{self._k6_api}/v1/metrics")):
            sample["k6"] = k6_figures(page)
        return sample


def _attempt(look: Callable[[], Any]) -> Any:
    """What `look` sees, or nothing when it cannot be reached now."""
    try:
        return look()
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=LOOK_TIMEOUT_S) as answer:  # noqa: S310 - the addresses the run was given
        return str(answer.read().decode())


def service_figures(page: str) -> dict[str, Any]:
    """The few figures of a /metrics page that the report draws."""
    figures: dict[str, Any] = {"commit_buckets": {}, "shed": 0.0}
    for family in text_string_to_metric_families(page):
        for name, labels, value, *_ in family.samples:
            if name in PLAIN:
                figures[PLAIN[name]] = value
            elif name == "energy_commit_seconds_bucket":
                figures["commit_buckets"][labels["le"]] = value
            elif name == "energy_shed_total":
                figures["shed"] += value
    return figures


def k6_figures(page: str) -> dict[str, float]:
    """Virtual users and dropped iterations, from k6's own interface."""
    wanted = {"vus": ("value", "vus"), "dropped_iterations": ("count", "dropped")}
    figures = {}
    for metric in json.loads(page)["data"]:
        if metric["id"] in wanted:
            field, name = wanted[metric["id"]]
            figures[name] = float(metric["attributes"]["sample"][field])
    return figures


def look_at_cluster(cluster: Cluster) -> dict[str, Any]:
    """The HPA, the pods that are Ready, the operator's plan."""
    listed = _kubectl(cluster, "hpa,pods")["items"]
    pods = [item for item in listed if item["kind"] == "Pod" and _has(item, cluster.pod_selector)]
    ready = [pod for pod in pods if _is_ready(pod)]
    seen: dict[str, Any] = {
        "ready": len(ready),
        "pods_there": len(pods),
        "addresses": {pod["metadata"]["name"]: f"http://{pod['status']['podIP']}:8000" for pod in ready},
    }
    for item in listed:
        if item["kind"] == "HorizontalPodAutoscaler" and item["metadata"]["name"] == cluster.hpa:
            seen["hpa_min"], seen["hpa_max"] = item["spec"]["minReplicas"], item["spec"]["maxReplicas"]
            seen["hpa_desired"] = item["status"].get("desiredReplicas")
    for item in (_attempt(lambda: _kubectl(cluster, "billingwindows")) or {"items": []})["items"]:
        if item["spec"]["targetRef"]["name"] == cluster.hpa:
            status = item.get("status", {})
            seen["planned_min"], seen["phase"] = status.get("minReplicas"), status.get("phase")
    return seen


def _kubectl(cluster: Cluster, kinds: str) -> dict[str, Any]:
    command = ["kubectl", "get", kinds, "-n", cluster.namespace, "-o", "json", "--request-timeout", "2s"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=5).stdout)
    return found


def _has(item: dict[str, Any], selector: str) -> bool:
    labels = item["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, _, value in (pair.partition("=") for pair in selector.split(",")))


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in conditions
    )
