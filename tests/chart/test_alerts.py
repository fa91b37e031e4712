"""The alerts as promtool judges them: rendered for two releases of one Prometheus, against the stories of tests/chart/alerts."""

import re
import subprocess
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.test_rendered import documents
from tools.cluster.binaries import program
from tools.reference import alerts

pytestmark = pytest.mark.cluster  # for Helm and promtool
STORIES = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
WITH_RULES = ("--set=monitoring.rules.enabled=true", "--set=monitoring.podMonitor.enabled=true")
ABSENT = {
    "EnergyDown",
    "CockroachNodeDown",
    "PrescalerStalled",
    "PostgresInstanceDown",
}  # who fires when there is nothing to see
ON_POSTGRESQL = ("--set=database.kind=cloudnativepg",)

every_story = pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)


@lru_cache
def rules(namespace: str, *words: str) -> list[dict[str, Any]]:
    """The groups of one release, called as its namespace, without what is only read by people."""
    found = documents(*WITH_RULES, f"--namespace={namespace}", f"--set=fullnameOverride={namespace}", *words)
    (rule,) = (manifest for manifest in found if manifest["kind"] == "PrometheusRule")
    groups: list[dict[str, Any]] = rule["spec"]["groups"]
    return groups


def promtool(folder: Path, words: tuple[str, ...], **files: object) -> subprocess.CompletedProcess[str]:
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return subprocess.run(
        [program("promtool"), *words, *(f"{name}.yaml" for name in files if name != "rules" or words[0] == "check")],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def judge(folder: Path, story: dict[str, Any], *namespaces: str, words: tuple[str, ...] = ()) -> None:
    groups = [deepcopy(group) for namespace in namespaces for group in rules(namespace, *words)]
    for rule in (rule for group in groups for rule in group["rules"]):
        del rule["annotations"]  # promtool compares them too
        rule["labels"]["release"] = rule["labels"]["namespace"]
    answer = promtool(folder, ("test", "rules"), rules={"groups": groups}, story=story)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def database_of(story: Path) -> tuple[str, ...]:
    """The values of the release that a story is about."""
    return ON_POSTGRESQL if story.stem.startswith("postgresql") else ()


def loaded(story: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(story.read_text())
    return found


@every_story
def test_alerts_fire_and_are_quiet_as_their_stories_say(story: Path, tmp_path: Path) -> None:
    judge(tmp_path, loaded(story), "energy", words=database_of(story))


@every_story
def test_an_alert_fires_for_its_own_release_only(story: Path, tmp_path: Path) -> None:
    moved = deepcopy(loaded(story))
    for test in moved["tests"]:
        for series in test["input_series"]:
            series["series"] = in_staging(series["series"])
        for check in test["alert_rule_test"]:
            for alert in check.get("exp_alerts", []):
                alert["exp_labels"] = {
                    key: value.replace("energy", "staging") for key, value in alert["exp_labels"].items()
                }
            if check["alertname"] in ABSENT:  # `energy` has no series at all
                check.setdefault("exp_alerts", []).append({"exp_labels": nothing_there(check["alertname"])})
    moved["tests"] = [test for test in moved["tests"] if "rollout" not in test["name"]]
    judge(tmp_path, moved, "energy", "staging", words=database_of(story))


def in_staging(series: str) -> str:
    return re.sub(r'"energy\b', '"staging', series)


def nothing_there(alert: str) -> dict[str, str]:
    job = {
        "CockroachNodeDown": {"job": "energy-cockroachdb"},
        "PrescalerStalled": {"job": "energy-operator"},
    }
    return {"severity": "critical", "namespace": "energy", "release": "energy", **job.get(alert, {})}


@pytest.mark.parametrize("words", [(), ON_POSTGRESQL], ids=["cockroachdb", "cloudnativepg"])
def test_without_any_series_exactly_those_that_watch_for_it_fire(words: tuple[str, ...], tmp_path: Path) -> None:
    names = sorted(rule["alert"] for group in rules("energy", *words) for rule in group["rules"])
    assert len(ABSENT & set(names)) == 3
    quiet = [{"eval_time": "30m", "alertname": name} for name in names if name not in ABSENT]
    firing = [
        {
            "eval_time": "30m",
            "alertname": name,
            "exp_alerts": [
                {"exp_labels": {key: value.replace("energy", space) for key, value in nothing_there(name).items()}}
                for space in ("energy", "staging")
            ],
        }
        for name in names
        if name in ABSENT
    ]
    story = {
        "rule_files": ["rules.yaml"], "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": [], "alert_rule_test": [*quiet, *firing]}],
    }  # fmt: skip
    judge(tmp_path, story, "energy", "staging", words=words)


@pytest.mark.parametrize("words", [(), ON_POSTGRESQL], ids=["cockroachdb", "cloudnativepg"])
def test_promtool_finds_nothing_to_say_about_the_rendered_rules(words: tuple[str, ...], tmp_path: Path) -> None:
    groups = rules("energy", *words)
    answer = promtool(tmp_path, ("check", "rules", "--lint=all", "--lint-fatal"), rules={"groups": groups})
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_no_word_of_the_chart_is_left_in_a_rendered_expression() -> None:
    groups = [*rules("energy"), *rules("energy", *ON_POSTGRESQL)]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert "$" not in rule["expr"], rule["alert"]


def test_labels_of_ones_own_scrape_replace_the_charts() -> None:
    sets = '--set=monitoring.rules.selectors.app=job="meters"'
    (down,) = (rule for group in rules("energy", sets) for rule in group["rules"] if rule["alert"] == "EnergyDown")
    assert down["expr"] == 'absent(up{job="meters"} == 1)'


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts()])
def test_an_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    names = [test["name"] for story in STORIES for test in loaded(story)["tests"]]
    assert any(name.startswith(f"{alert} fires") for name in names)
    assert any(name.startswith(f"{alert} is quiet") for name in names)
