"""The command line: what it prints, and that a mistake is a sentence and not a stack trace."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from prescaler.cli import main

VOLGA = """
apiVersion: prescaler.energy-readings.dev/v1alpha1
kind: BillingWindow
metadata: {name: volga}
spec:
  targetRef: {name: energy}
  baseline: {minReplicas: 2}
  timeZones: [Europe/Moscow, Europe/Samara, Asia/Yekaterinburg]
  leadTime: 30m
  windows:
  - {name: monthly-billing, fromDay: 15, toDay: 26, minReplicas: 8}
  - {name: night, fromDay: 20, toDay: 21, demand: {requestsPerSecond: 100, requestsPerSecondPerPod: 10, headroom: "1.1"}}
"""


def prescaler(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def volga(tmp_path: Path) -> Path:
    path = tmp_path / "volga.yaml"
    path.write_text(VOLGA)
    return path


def test_a_plan_as_json_begins_with_the_state_and_has_one_entry_for_each_change(volga: Path) -> None:
    answer = prescaler("plan", volga, "--from", "2026-12-01", "--months", 1, "--format", "json")
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)[:3] == [
        {"at": "2026-11-30T21:00:00Z", "minReplicas": 2, "phase": "Idle", "window": None},
        {"at": "2026-12-14T18:30:00Z", "minReplicas": 8, "phase": "PreScaled", "window": "monthly-billing"},
        {"at": "2026-12-14T19:00:00Z", "minReplicas": 8, "phase": "Active", "window": "monthly-billing"},
    ]


def test_a_plan_as_a_table_is_in_local_times_and_names_what_overlaps(volga: Path) -> None:
    lines = prescaler("plan", volga, "--from", "2026-12-01", "--months", 1).stdout.splitlines()
    assert lines[0] == "At 2026-12-01 00:00 Europe/Moscow: Idle, minimum 2"
    (night,) = (line for line in lines if line.startswith("2026-12-19 19:00"))
    assert "Sun 20 Dec 00:00" in night
    assert night.split()[-4:] == ["11", "Active", "night", "monthly-billing"], "ceil(100 × 1.1 / 10) is 11"


def test_a_plan_as_a_calendar_has_the_openings(volga: Path) -> None:
    text = prescaler("plan", volga, "--from", "2026-12-01", "--months", 1, "--format", "ics").stdout_bytes.decode()
    assert text.startswith("BEGIN:VCALENDAR\r\n")
    assert "DTSTART:20261214T190000Z\r\nDTEND:20261226T210000Z\r\n" in text
    assert text.count("BEGIN:VEVENT") == 2
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_plan_is_drawn(volga: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"plan.{suffix}"
    assert prescaler("plan", volga, "--from", "2026-12-01", "--months", 1, "--plot", path).exit_code == 0
    assert path.read_bytes()[:5] in {b"\x89PNG\r", b"<?xml"}


def test_a_difference_tells_when_and_how_much(volga: Path, tmp_path: Path) -> None:
    changed = tmp_path / "new.yaml"
    changed.write_text(VOLGA.replace("toDay: 26", "toDay: 27"))
    answer = prescaler("diff", volga, changed, "--from", "2026-12-01", "--months", 1)
    assert answer.stdout == "2026-12-27 00:00 Europe/Moscow to 2026-12-28 00:00 Europe/Moscow: 2 -> 8 (+6)\n"
    same = prescaler("diff", volga, volga, "--from", "2026-12-01", "--months", 1)
    assert same.stdout.startswith("no difference")


def test_the_resource_definition_is_complete() -> None:
    """Every field explains itself, or `kubectl explain` is useless."""
    definition = yaml.safe_load(prescaler("crd").stdout)

    def silent(schema: dict[str, object], path: str) -> list[str]:
        found = [] if "description" in schema or path in {".metadata", ""} else [path]
        for name, child in dict(schema.get("properties", {})).items():  # type: ignore[call-overload]  # plain YAML
            found += silent(child, f"{path}.{name}")
        items = schema.get("items")
        if isinstance(items, dict):
            found += silent({"description": "", **items}, f"{path}[]")
        return found

    (version,) = definition["spec"]["versions"]
    assert silent(version["schema"]["openAPIV3Schema"], "") == []
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns == ["HPA", "PHASE", "MIN", "READY", "STATE", "NEXT", "AGE"]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        pytest.param(VOLGA.replace("Samara", "Samarra"), "there is no time zone `Europe/Samarra`", id="zone"),
        pytest.param(VOLGA.replace("toDay: 26", "toDay: 32"), "spec.windows[0].toDay: 32 is more than 31", id="day"),
        pytest.param(VOLGA.replace("leadTime: 30m", "leadTime: 30"), "leadTime", id="duration without a unit"),
        pytest.param(
            VOLGA.replace("leadTime: 30m", "leadTime: soon"), "leadTime: `soon` does not match", id="duration"
        ),
        pytest.param(VOLGA.replace("leadTime", "leedTime"), "spec.leedTime: unknown field", id="unknown field"),
        pytest.param(
            VOLGA.replace(", minReplicas: 8", ""), "in exactly one way: minReplicas, or demand", id="no demand"
        ),
        pytest.param(VOLGA.replace("kind: BillingWindow", "kind: Pod"), "holds 0 objects of kind", id="other kind"),
        pytest.param(VOLGA + VOLGA.replace("apiVersion", "---\napiVersion"), "holds 2 objects", id="two of them"),
        pytest.param("{", "isn't YAML", id="not YAML"),
        pytest.param("", "holds 0 objects", id="empty"),
    ],
)
def test_a_mistake_in_a_file_is_one_sentence_that_says_where(tmp_path: Path, broken: str, words: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(broken)
    answer = prescaler("plan", path)
    assert answer.exit_code == 1
    assert str(path) in answer.output
    assert words in answer.output
    assert "Traceback" not in answer.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["plan", "/nowhere.yaml"], "can't be read", id="no file"),
        pytest.param(["plan", "FILE", "--from", "christmas"], "write a date, as 2026-12-01", id="no date"),
        pytest.param(["plan", "FILE", "--plot", "x.gif"], "must end in .png or .svg", id="no picture"),
        pytest.param(["release"], "KUBECONFIG", id="no cluster"),
    ],
)
def test_a_mistake_on_the_command_line_says_what_to_do(
    volga: Path, words: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(volga.parent))
    answer = prescaler(*[str(volga) if word == "FILE" else word for word in words])
    assert answer.exit_code != 0
    assert says in answer.output
    assert "Traceback" not in answer.output


def test_the_folder_operator_is_no_package_and_shadows_nothing() -> None:
    import operator  # noqa: PLC0415 - the standard library's, and it must stay that way

    assert operator.add(1, 1) == 2
    assert not (Path(__file__).parents[3] / "operator" / "__init__.py").exists()
