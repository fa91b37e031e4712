"""The table of verdicts: every condition that is bad somewhere has its alert, metric and runbook, and nothing says more."""

import re
from pathlib import Path

import pytest
import yaml

from prescaler.window.verdict import VERDICTS

ROOT = Path(__file__).parents[3]
RULES = yaml.safe_load((ROOT / "operator/src/prescaler/alerts.yaml").read_text(encoding="utf-8"))["rules"]
ALERTS = {rule["alert"]: rule["expr"] for rule in RULES}
CRITICAL = {rule["alert"] for rule in RULES if rule["labels"]["severity"] == "critical"}


@pytest.mark.parametrize("condition", [name for name, rule in VERDICTS.items() if rule.alert is not None])
def test_a_condition_with_an_alert_is_what_the_alert_looks_at(condition: str) -> None:
    rule = VERDICTS[condition]
    assert rule.alert is not None
    page = (ROOT / f"docs/runbooks/{rule.alert}.md").read_text(encoding="utf-8")
    if condition == "Rehearsal":  # the operator's, not one object's
        assert "prescaler_clock_offset_seconds" in ALERTS[rule.alert]
        return
    found = re.search(r'prescaler_condition\{.*type="(\w+)"\} == ([01])', ALERTS[rule.alert])
    assert found is not None
    assert found.groups() == (condition, "1" if rule.bad == "True" else "0")
    assert f"`{condition}`" in page


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_on_a_condition_is_in_the_table(alert: str) -> None:
    types = re.findall(r'type="(\w+)"', ALERTS[alert])
    assert [name for name, rule in VERDICTS.items() if rule.alert == alert and name != "Rehearsal"] == types


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_looks_at_one_operator_only(alert: str) -> None:
    selectors = re.findall(r"prescaler_\w+(\{[^}]*\})?", ALERTS[alert])
    assert selectors
    assert all(selector.startswith("{$operator") for selector in selectors)


def test_every_reason_for_not_being_applied_is_in_its_runbook() -> None:
    """Of the conditions that somebody is told about, what to do stands on the page."""
    folder = ROOT / "operator/src/prescaler/window"
    minimum, capacity, case, pods, readiness = (
        (folder / f"{n}.py").read_text(encoding="utf-8") for n in ("minimum", "capacity", "case", "pods", "readiness")
    )
    page = (ROOT / "docs/runbooks/BillingWindowNotApplied.md").read_text(encoding="utf-8")
    facts = set(re.findall(r'Fact\("(\w+)"', minimum)) - {"HigherMinimumKept", "Overwritten"}
    targets = facts | set(re.findall(r'Fact\("(\w+)"', case))
    told = targets | {"InvalidSpec", "WriteRefused", "WriteFailed", "OperatorError"}
    assert {reason for reason in told if f"`{reason}`" not in page} == set()
    causes = (ROOT / "operator/src/prescaler/kube/around.py").read_text(encoding="utf-8")
    shortages = set(re.findall(r'Fact\(\s*"(\w+)"', capacity + pods + readiness)) - {"NotReadYet"}
    shortages |= set(re.findall(r'return "(\w+)", f?"', causes)) | targets
    assert {"Quota", "StillStarting", "ImagePull", "PodsUnseen", "TargetAtZero"} <= shortages
    page = (ROOT / "docs/runbooks/BillingWindowWontBeReady.md").read_text(encoding="utf-8")
    assert {reason for reason in shortages if f"`{reason}`" not in page} == set()
