"""The dashboard: what Grafana needs to take it, expressions that Prometheus parses, and metrics that exist."""

import json
import re
import subprocess
from typing import Any

import pytest

from chart.test_elsewhere import named, of_release
from chart.test_rendered import documents
from docs.test_names import metric_names
from tools.cluster.binaries import program

pytestmark = pytest.mark.cluster  # for Helm and promtool
ENABLED = "--set=monitoring.dashboard.enabled=true"
OF_OTHERS = {
    "up", "liveness_livenodes", "capacity_available", "capacity", "ranges_unavailable", "ranges_underreplicated",
}  # fmt: skip
VARIABLES = {"$namespace": "energy", "$app": "energy", "$__rate_interval": "1m"}


def dashboard(release: str = "energy") -> dict[str, Any]:
    (config,) = (found for found in of_release(release, ENABLED) if found["metadata"]["name"].endswith("-dashboard"))
    ((_, text),) = config["data"].items()
    found: dict[str, Any] = json.loads(text)
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_it_says_what_grafana_asks_for() -> None:
    found = dashboard()
    assert found["schemaVersion"] >= 39
    assert len(found["uid"]) <= 40
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters))


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_metric_of_it_exists() -> None:
    for expression in expressions():
        names = set(re.findall(r"([a-z_]{2,})(?=\{)", expression))
        assert names
        assert names <= metric_names() | OF_OTHERS, expression


def test_every_expression_names_the_release_and_a_range_that_follows_the_scrapes() -> None:
    for expression in expressions():
        selectors = re.findall(r"\{(.*?)\}", expression)
        assert all(selector.startswith('namespace="$namespace",job="$app') for selector in selectors), expression
        assert not re.search(r"\[\d+m\]", expression), expression


def test_prometheus_parses_every_expression() -> None:
    for expression in expressions():
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)  # noqa: PLW2901 - the same, filled in
        answer = subprocess.run(
            [program("promtool"), "promql", "format", "--experimental", expression],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert answer.returncode == 0, f"{expression}: {answer.stderr}"


def test_two_releases_have_two_dashboards() -> None:
    one, two = dashboard("energy"), dashboard("staging")
    assert one["uid"] != two["uid"]
    assert one["title"] != two["title"]


def test_it_shows_disk_and_business_beside_the_service() -> None:
    titles = {panel["title"] for panel in panels()}
    assert {"Disk left", "Readings stored today", "Flagged readings", "Readings taken without a 5xx"} <= titles


def test_it_is_there_only_when_asked_for() -> None:
    assert not [found for found in documents() if found["metadata"]["name"] == "energy-dashboard"]
    assert named(documents(ENABLED), "ConfigMap", "energy-dashboard")["metadata"]["labels"]["grafana_dashboard"] == "1"
