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
    assert all(set(c) <= {"name", "type", "jsonPath", "description"} for c in version["additionalPrinterColumns"])
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns == ["HPA", "PHASE", "MIN", "READY", "STATE", "NEXT", "AGE"]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        pytest.param(VOLGA.replace("Samara", "Samarra"), "there is no time zone `Europe/Samarra`", id="zone"),
        pytest.param(
            VOLGA.replace("toDay: 26", "toDay: 32"),
            "spec.windows[0].toDay must be smaller than or equal to 31; it is 32",
            id="day",
        ),
        pytest.param(VOLGA.replace("leadTime: 30m", "leadTime: 30"), "leadTime", id="duration without a unit"),
        pytest.param(VOLGA.replace("leadTime: 30m", "leadTime: soon"), "it is 'soon'", id="duration"),
        pytest.param(VOLGA.replace("leadTime", "leedTime"), "spec must not contain {'leedTime'}", id="unknown field"),
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
        pytest.param(["release"], "KUBECONFIG", id="no cluster"),
        pytest.param(["report"], "KUBECONFIG", id="no cluster to report of"),
        pytest.param(["run", "-n", "team-*"], "not the name of a namespace", id="a pattern of namespaces"),
        pytest.param(["run", "--health-port", "0"], "1<=x<=65535", id="no port"),
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


# ── the same as the API server ───────────────────────────────────────────────────────────────────


def with_spec(text: str) -> str:
    return VOLGA.rstrip() + "\n" + text


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        pytest.param(VOLGA.replace("leadTime: 30m", "leadTime: 9999999d"), "leadTime", id="a lead time without end"),
        pytest.param(
            with_spec("  exceptions: [{date: 2027-02-30, action: Skip}]"),
            "spec.exceptions[0].date must be date; it is '2027-02-30'",
            id="no day",
        ),
        pytest.param(with_spec("  exceptions: [{date: 0001-01-01, action: Skip}]"), "must match pattern", id="no year"),
        pytest.param(VOLGA.replace("minReplicas: 8", "minReplicas: 1"), "can't lower it", id="below the baseline"),
        pytest.param(
            VOLGA.replace("minReplicas: 8", "demand: {requestsPerSecond: 9, requestsPerSecondPerPod: 9}"),
            "can't lower it",
            id="a demand below the baseline",
        ),
        pytest.param(VOLGA.replace("toDay: 26", "toDay: 26, startTime: '24:00'"), "of the next day", id="24:00"),
        pytest.param(VOLGA.replace("Europe/Samara", "Europe/Moscow"), "must contain unique items", id="a zone twice"),
        pytest.param(
            VOLGA.replace("name: night", "name: monthly-billing"), "must contain unique items", id="a window twice"
        ),
        pytest.param(
            VOLGA.replace("toDay: 26", "toDay: 26, peaks: [{from: '18:00', to: '18:00', minReplicas: 9}]"),
            "are the same time",
            id="a peak of no time",
        ),
        pytest.param(VOLGA.replace("name: volga", "name: Volga_1"), "is not a name", id="a name"),
        pytest.param(VOLGA.replace("v1alpha1", "v2"), "apiVersion", id="another version"),
        pytest.param(VOLGA.replace("spec:", "extra: 1\nspec:"), "unknown field extra", id="a field beside the spec"),
        pytest.param(VOLGA.replace("name: energy", "name: ../x"), "targetRef.name", id="a path for a name"),
        pytest.param("[" * 5000, "nested deeper than", id="brackets without end"),
        pytest.param("kind: BillingWindow\nspec: &a [*a]", "refers to nothing", id="a list in itself"),
        pytest.param(
            VOLGA.replace("minReplicas: 8", "minReplicas: " + "9" * 30), "must be smaller", id="a number without end"
        ),
        pytest.param(VOLGA.replace("Europe/Moscow, ", "'Europe/Mos\\0cow', "), "", id="a zero byte"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "lint"])
def test_what_the_api_server_refuses_is_refused_here_too(tmp_path: Path, command: str, broken: str, words: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(broken)
    answer = prescaler(command, path)
    assert answer.exit_code == 1
    assert words in answer.output
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    assert "Traceback" not in answer.output
    assert "defect" not in answer.output


@pytest.mark.parametrize("since", ["9999-01-01", "0001-01-01", "1999-12-31", "2199-01-01"])
def test_a_start_in_another_age_is_refused_in_a_sentence(volga: Path, since: str) -> None:
    answer = prescaler("plan", volga, "--from", since, "--months", 240)
    assert answer.exit_code == 1
    assert "write a date from 2000 to" in answer.output


def test_standard_input_and_lists_are_read_like_files(volga: Path) -> None:
    runner = CliRunner()
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"}, yaml.safe_load(VOLGA)]})
    command = ["plan", "-", "--from", "2026-12-01", "--months", "1"]
    of_file = prescaler("plan", volga, *command[2:]).stdout
    for text in (VOLGA, listed):
        assert runner.invoke(main, command, input=text).stdout == of_file


def test_a_list_of_exceptions_may_stand_in_for_the_clusters(volga: Path, tmp_path: Path) -> None:
    volga.write_text(with_spec("  exceptionsFrom: {configMap: holidays}"))
    told = prescaler("plan", volga, "--from", "2026-12-01", "--months", 1, "--format", "json")
    assert "give them with --exceptions" in told.stderr
    exceptions = tmp_path / "holidays.yaml"
    exceptions.write_text("- {date: 2026-12-18, to: 2026-12-19, action: Skip}")
    with_them = prescaler("plan", volga, "--exceptions", exceptions, "--from", "2026-12-01", "--months", 1)
    assert (with_them.exit_code, with_them.stderr) == (0, "")
    assert any(line.startswith("2026-12-17 21:00") for line in with_them.stdout.splitlines())
    exceptions.write_text("- {date: 2026-12-18, action: Override}")
    broken = prescaler("plan", volga, "--exceptions", exceptions)
    assert broken.exit_code == 1
    assert "minReplicas goes with" in broken.output


@pytest.mark.parametrize("command", ["plan", "lint"])
def test_an_exception_that_changes_nothing_is_an_error(volga: Path, command: str) -> None:
    volga.write_text(with_spec("  exceptions: [{date: 2027-01-27, action: Extend, until: 2027-01-29}]"))
    answer = prescaler(command, volga)
    assert answer.exit_code == 1
    assert "exception Extend of 2027-01-27 changes nothing" in answer.output


def test_lint_says_of_each_file_whether_it_is_right(volga: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("kind: Pod")
    answer = prescaler("lint", volga, other)
    assert (answer.exit_code, answer.stdout.splitlines()) == (
        1,
        [f"{volga}: ok", f"{other}: holds no object of kind BillingWindow"],
    )
    assert prescaler("lint", volga).exit_code == 0


def test_a_plan_that_begins_inside_a_window_says_so(volga: Path) -> None:
    entries = json.loads(prescaler("plan", volga, "--from", "2026-12-18", "--months", 1, "--format", "json").stdout)
    assert entries[0] == {
        "at": "2026-12-17T21:00:00Z",
        "minReplicas": 8,
        "phase": "Active",
        "window": "monthly-billing",
    }
    calendar = prescaler("plan", volga, "--from", "2026-12-18", "--months", 1, "--format", "ics").stdout
    assert "DTSTART:20261214T190000Z" in calendar


def test_a_calendar_is_folded_by_octets_and_holds_one_line_for_a_name(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    name = "окно; сдачи, показаний " * 2
    path.write_text(VOLGA.replace("name: monthly-billing", f'name: "{name.strip()}"'), encoding="utf-8")
    text = prescaler("plan", path, "--from", "2026-12-01", "--months", 1, "--format", "ics").stdout_bytes
    assert all(len(line) <= 75 for line in text.split(b"\r\n"))
    unfolded = text.decode().replace("\r\n ", "")
    assert "SUMMARY:окно\\; сдачи\\, показаний" in unfolded
    path.write_text(VOLGA.replace("name: night", 'name: "a\\nBEGIN:VEVENT"'))
    assert prescaler("plan", path, "--format", "ics").exit_code == 1


REPORTED = {
    "kind": "BillingWindow",
    "metadata": {"name": "volga"},
    "status": {
        "readyTime": {"samples": 3, "p50Seconds": 40, "p99Seconds": 71},
        "history": [
            {
                "window": "monthly", "kind": "Window", "plannedStart": "2027-01-14T21:00:00Z",
                "plannedEnd": "2027-01-26T21:00:00Z", "minReplicas": 8, "raisedAt": "2027-01-14T20:30:00Z",
                "readyAt": "2027-01-14T21:01:30Z", "secondsEarly": -90, "actualStart": "2027-01-14T21:00:00Z",
                "readyAtStart": "6 of 8", "warnedAt": "2027-01-14T20:40:00Z", "warning": "2 pods can't be scheduled",
            }
        ],
    },
}  # fmt: skip


def test_a_report_says_what_became_of_each_window(tmp_path: Path) -> None:
    path = tmp_path / "bw.yaml"
    path.write_text(yaml.safe_dump({"kind": "List", "items": [REPORTED, {**REPORTED, "status": None}]}))
    lines = prescaler("report", path).stdout.splitlines()
    assert lines[0] == "volga"
    assert lines[2].split("  ")[1:3] == ["monthly", "2027-01-14 21:00"]
    assert "6 of 8" in lines[2]
    assert "-0:01:30" in lines[2]
    assert "01-14 20:40:00 2 pods can't be scheduled" in lines[2]
    assert "99 of 100 within 71 s (3 measured)" in lines[3]
    assert lines[5] == "  no window has been seen yet"
