"""Broken copies of the planner and of what judges: the suite must notice each one (`make test` leaves this out, it is slow).

A mutant that survives means that a promise has no test. Each is one change of one line, made in a copy of the package.
"""

# ruff: noqa: E501 - one line for each mutant

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
PLAN = ("test_plan.py", "test_plan_oracle.py", "test_exceptions.py")
POLICY = ("test_policies.py", "test_edits.py", "test_containment.py", "test_rules.py")
TOLD = (
    "test_warned_in_time.py",
    "test_ready_at_start.py",
    "test_history.py",
    "test_capacity.py",
    "test_containment.py",
)

MUTANTS = [
    pytest.param("plan/planner.py", "yield step(demand.start - lead_s,", "yield step(demand.start,", PLAN, id="no lead time"),
    pytest.param("plan/planner.py", "heap[0][-1].end <= at", "heap[0][-1].end < at", PLAN, id="an end that is still open"),
    pytest.param("plan/planner.py", "return -(-numerator // denominator)", "return numerator // denominator", PLAN, id="rounded down"),
    pytest.param("plan/planner.py", "leading = (self._opened or self._highest)", "leading = self._highest", PLAN, id="a coming window names an open one"),
    pytest.param("plan/occurrences.py", "back = timedelta(days=EXTENDED_D_MAX if extends else LONGEST_D)", "back = timedelta(days=31)", PLAN, id="looks back one month"),
    pytest.param("plan/occurrences.py", "last = max(last, min(e.until", "last = min(last, min(e.until", PLAN, id="Extend shortens"),
    pytest.param("plan/occurrences.py", "if is_plain:", "if True:", PLAN, id="peaks on an overridden day"),
    pytest.param("plan/occurrences.py", "key=lambda e: e.action is not Action.SKIP", "key=lambda e: e.action is Action.SKIP", PLAN, id="an Override wins over a Skip"),
    pytest.param("plan/localtime.py", "(second_s if is_end else first_s)", "first_s", PLAN, id="the first of a repeated hour ends a window"),
    pytest.param("window/minimum.py", "current > asked and target.holders", "current > asked and not target.holders", POLICY, id="a person's higher value is lowered"),
    pytest.param("window/minimum.py", "min(wanted, target.maximum)", "wanted", POLICY, id="a minimum above the maximum"),
    pytest.param("window/minimum.py", "(target.off if asked > current else None)", "target.off", POLICY, id="a target at zero stays raised"),
    pytest.param("window/assess.py", "now < held.until and not _has_heir", "not _has_heir", POLICY, id="what was suspended stays raised"),
    pytest.param("window/assess.py", "(held.kind, held.name) != spec.target", "False", POLICY, id="the old target stays raised"),
    pytest.param("window/assess.py", "if patch is not None:\n            to_do.append", "if False:\n            to_do.append", POLICY, id="raised without a note"),
    pytest.param("window/assess.py", "and not wants and (works or foreign)", "and (works or foreign)", POLICY, id="the note goes while raised"),
    pytest.param("window/conclude.py", 'if failure is not None:\n        verdicts["Ready"]', 'if False:\n        verdicts["Ready"]', POLICY, id="a failing write is silent"),
    pytest.param("window/conclude.py", "DRIFT_HELD = timedelta(minutes=30)", "DRIFT_HELD = timedelta(0)", POLICY, id="a fight is told each time"),
    pytest.param("window/assess.py", "    if ready is None:", "    if False:", POLICY, id="unknown pods are none"),
    pytest.param("window/readiness.py", "declared.lead / 2 and", "declared.lead / 4 and", TOLD, id="slow pods are told late"),
    pytest.param("window/readiness.py", "ready is None or ready <", "ready is not None and ready <", TOLD, id="unknown pods are enough"),
    pytest.param("window/readiness.py", "ready is not None or unseen is not None", "ready is not None", TOLD, id="nobody is told of what can't be seen"),
    pytest.param("window/readiness.py", "run.min_replicas >= case.within_maximum(opening)", "True", TOLD, id="a missed higher day is forgiven"),
    pytest.param("window/readiness.py", "run.ready_at is not None", "True", TOLD, id="a missed start is forgiven"),
    pytest.param("window/readiness.py", "and not _was_ready(case, d)", "", TOLD, id="a rolling update wakes people"),
    pytest.param("window/pods.py", "scale.problem or around.problem", "None", TOLD, id="what was seen earlier is the present"),
    pytest.param("window/pods.py", "and ref.api_version.rpartition", "or ref.api_version.rpartition", TOLD, id="kinds of other groups are Deployments"),
    pytest.param("plan/planner.py", "if d.start <= soon and at < d.end", "if at < d.start <= soon", TOLD, id="what is open is not due"),
    pytest.param("window/history.py", "seen = not look.first and", "seen =", TOLD, id="a start that nobody saw is claimed"),
    pytest.param("window/history.py", "run.raised_at is None and look.raised", "run.raised_at is None", TOLD, id="a raise that was none is measured"),
    pytest.param("window/history.py", "LEAD_FACTOR = 2", "LEAD_FACTOR = 1", TOLD, id="a lead time without margin"),
    pytest.param("window/capacity.py", "for pod in around.pods:\n        if not pod.node", "for pod in ():\n        if not pod.node", TOLD, id="waiting pods take no room"),
    pytest.param("loop.py", "return failing is None or self._monotonic() >= failing.due_at", "return True", POLICY, id="no back-off"),
]  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("file", "right", "wrong", "suite"), MUTANTS)
def test_a_mutant_is_noticed(tmp_path: Path, file: str, right: str, wrong: str, suite: tuple[str, ...]) -> None:
    shutil.copytree(ROOT / "operator/src/prescaler", tmp_path / "prescaler")
    target = tmp_path / "prescaler" / file
    source = target.read_text(encoding="utf-8")
    assert source.count(right) >= 1, "the mutant must follow the line that it breaks"
    target.write_text(source.replace(right, wrong), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *(str(HERE / name) for name in suite),
    ]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout[-2000:]
