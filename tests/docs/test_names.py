"""Names that the documentation gives in backticks exist: settings, metrics, alerts, requests, fields, values, files, commands.

A page may speak of other programs too, so each kind is recognised by how its names look, and only those are looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from docs.pages import ROOT, Page, pages
from energy.cli.main import app
from energy.wire.problems import KINDS, type_of
from prescaler.cli import main as prescaler_cli
from tools.reference import PROBES, alerts, fields, metrics, openapi

DATABASE_USERS = {"energy_owner"}
OF_THE_SCRAPE = {"job", "namespace", "pod", "instance", "le"}
FOREIGN_FIELDS = ("spec.minReplicas", "spec.maxReplicas", "spec.replicas")  # of an HPA, of a Deployment
SOURCES = {".py", ".mk", ".js", ".sh", ".yaml"}
MADE_BY_RUNS = ("build/", "energy-data")


@lru_cache
def sources() -> str:
    """Everything that reads environment variables, as one text; without this folder, which invents some."""
    folders = ("app", "operator", "loadtest", "tests", "tools", "make", "helm", ".ci")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in SOURCES]
    files = [path for path in found if "tests/docs" not in str(path)]
    return "\n".join(path.read_text() for path in [*files, ROOT / "Makefile", ROOT / ".ci/run"])


@lru_cache
def variables() -> set[str]:
    from energy.settings import Settings  # noqa: PLC0415 - beside its only use

    return {f"ENERGY_{name.upper()}" for name in Settings.model_fields} | set(
        re.findall(r"\b(?:ENERGY|LOAD|PRESCALER)_[A-Z0-9_]+\b", sources())
    )


@lru_cache
def metric_names() -> set[str]:
    found = set()
    for name, kind, _, _ in (metric for package in metrics().values() for metric in package):
        found |= {name, name.removesuffix("_total")} if kind == "counter" else {name}
        found |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else set()
    return found


@lru_cache
def requests() -> set[str]:
    documented = {_shape(path) for path in (*openapi()["paths"], *PROBES)}
    return documented | {type_of(code) for code in KINDS} | {"/", "/healthz"}


def _shape(path: str) -> str:
    """A path without the names of what is put into it: `/v1/devices/{id}/readings` is one request whatever the id is called."""
    return re.sub(r"\{[^}]*\}|[0-9a-f-]{36}|…|\.\.\.", "{}", path.partition("?")[0])


@lru_cache
def field_names() -> set[str]:
    return {"spec", "status"} | {path.replace("[]", "") for path, _, _ in fields()}


@lru_cache
def targets() -> set[str]:
    makefiles = [ROOT / "Makefile", *(ROOT / "make").glob("*.mk")]
    return {name for file in makefiles for name in re.findall(r"^([a-z][a-z0-9-]*):", file.read_text(), re.MULTILINE)}


@lru_cache
def chart() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "helm/energy/values.yaml").read_text())
    return values


@lru_cache
def commands() -> dict[str, Any]:
    """The two programs; typer brings a click of its own, so they have no type in common."""
    return {"energy": typer.main.get_command(app), "prescaler": prescaler_cli}


# Each judge takes a code span and says which names in it do not exist; nothing, when it is not of its kind.


def unknown_variables(span: str) -> set[str]:
    return set(re.findall(r"\b(?:ENERGY|LOAD|PRESCALER)_[A-Z0-9_]+[A-Z0-9]\b", span)) - variables()


def unknown_metrics(span: str) -> set[str]:
    return set(re.findall(r"\b(?:energy|prescaler)_[a-z_]+[a-z]\b", span)) - metric_names() - DATABASE_USERS


def unknown_labels(span: str) -> set[str]:
    """Labels that an expression gives to one of our metrics, beside those that Prometheus adds."""
    labels = {name: re.findall(r"`(\w+)`", given) for package in metrics().values() for name, _, given, _ in package}
    return {
        f"{metric}: {label}"
        for metric, matchers in re.findall(r"\b((?:energy|prescaler)_[a-z_]+)\{([^}]*)\}", span)
        for label in re.findall(r"(\w+)(?:=|!)", matchers)
        if label not in {*OF_THE_SCRAPE, *labels.get(re.sub("_(bucket|sum|count)$", "", metric), ())}
    }


def unknown_requests(span: str) -> set[str]:
    found = re.fullmatch(r"(?:(?:GET|POST|PUT|PATCH|DELETE) )?(/[\w{}/.…-]*(?:\?\S*)?)", span)
    if not found or found[1].startswith(("/cockroach", "/etc", "/var", "/tmp", "/spec", "/health?")):  # noqa: S108 - places that pages name
        return set()
    return {_shape(found[1]).rstrip("/") or "/"} - requests()


def unknown_fields(span: str) -> set[str]:
    found = re.fullmatch(r"(?:bw\.)?((?:spec|status)(?:\.\w+(?:\[\])?)*)(?:: .*)?", span)
    if not found or found[1].startswith(FOREIGN_FIELDS):
        return set()
    return {found[1].replace("[]", "")} - field_names()


def unknown_targets(span: str) -> set[str]:
    words = re.findall(r"\bmake((?: [a-z][\w-]*)+)", span)
    return {target for names in words for target in names.split()} - targets()


def unknown_values(span: str) -> set[str]:
    found = re.fullmatch(r"([a-z]\w*(?:\.\w+)+)(?:[=:].*)?", span)
    first = found[1].split(".")[0] if found else ""
    if not found or first not in chart() or Path(found[1]).suffix in SOURCES | {".md", ".json"}:
        return set()
    module = ROOT / f"app/src/energy/{first}.py"  # `service.queue_limits` is no value of the chart's `service`
    if module.exists() and re.search(rf"\b{found[1].rpartition('.')[2]}\b", module.read_text()):
        return set()
    here: Any = chart()
    for part in found[1].split("."):
        if not isinstance(here, dict) or (here and part not in here):
            return _unless_a_setting(found[1])
        here = here.get(part)
    return set()


def _unless_a_setting(value: str) -> set[str]:
    """The chart takes every setting of the service below its value app.settings."""
    where, _, name = value.rpartition(".")
    return set() if where == "app.settings" and f"ENERGY_{name.upper()}" in variables() else {value}


def unknown_commands(span: str) -> set[str]:
    words = span.replace(".venv/bin/", "").split()
    if not words or words[0] not in commands() or len(words) == 1:
        return set()
    here = commands()[words[0]]
    for word in words[1:]:
        if not hasattr(here, "commands") or not re.fullmatch(r"[a-z]+", word):
            break
        if word not in here.commands:
            return {f"{words[0]} … {word}"}
        here = here.commands[word]
    options = {option for parameter in here.params for option in [*parameter.opts, *parameter.secondary_opts]} | {
        "--help"
    }
    return {f"{span}: {word}" for word in re.findall(r" (--[a-z-]+)", span) if word not in options}


def missing_files(page: Page, span: str) -> set[str]:
    looks = re.fullmatch(r"(?!/)[\w.*-]+(?:/[\w.*{},-]+)+/?", span)
    first = span.split("/", maxsplit=1)[0]
    if not looks or span.startswith(MADE_BY_RUNS) or "{" in span or not (ROOT / first).exists() or first == ".venv":
        return set()
    return set() if any(any(place.glob(span.rstrip("/"))) for place in (ROOT, page.path.parent)) else {span}


JUDGES: list[Callable[[str], set[str]]] = [
    unknown_variables, unknown_metrics, unknown_labels, unknown_requests, unknown_fields, unknown_targets, unknown_values, unknown_commands,
]  # fmt: skip


def names(page: Page) -> Iterator[str]:
    """The code spans of a page, and the lines of its command blocks."""
    yield from page.spans
    for block in page.blocks:
        yield from (line.partition("#")[0].strip() for line in block.text.splitlines())


@pytest.mark.parametrize("page", pages().values(), ids=pages())
def test_every_name_that_a_page_gives_exists(page: Page) -> None:
    wrong = {name for span in names(page) for judge in JUDGES for name in judge(span)}
    wrong |= {name for span in page.spans for name in missing_files(page, span)}
    assert wrong == set()


@pytest.mark.parametrize("page", pages().values(), ids=pages())
def test_every_alert_that_a_page_speaks_of_exists(page: Page) -> None:
    spoken = set(re.findall(r"\b(?:Energy|Prescaler|Cockroach|BillingWindow)(?:[A-Z][a-z]+)+\b", page.text))
    assert spoken - {alert["alert"] for alert in alerts()} == set()


@pytest.mark.parametrize("page", pages().values(), ids=pages())
def test_nothing_is_left_to_be_filled_in(page: Page) -> None:
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.text, flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"\{\{.*?\}\}|\b(?:TBD|FIXME|XXX|lorem ipsum)\b", prose) == []


@pytest.mark.parametrize(
    ("judge", "good", "bad"),
    [
        (unknown_variables, "ENERGY_PORT=0", "ENERGY_PORTS"),
        (unknown_metrics, "rate(energy_requests_total[5m])", "energy_request_total"),
        (unknown_labels, 'energy_shed_total{reason="queue_old"}', 'energy_shed_total{cause="queue_old"}'),
        (unknown_requests, "POST /v1/readings?atomic=true", "GET /v1/reading"),
        (unknown_fields, "bw.spec.windows[].fromDay", "spec.window"),
        (unknown_targets, "make fleet load-month", "make laod"),
        (unknown_values, "cockroachdb.tls.source", "cockroachdb.tls.sources"),
        (unknown_values, "app.settings.lanes", "app.settings.lane"),
        (unknown_commands, "energy keys create --scope read", "energy keys make"),
        (unknown_commands, "prescaler plan window.yaml --months 12", "prescaler plan window.yaml --weeks 12"),
    ],
)
def test_a_misspelt_name_is_found(judge: Callable[[str], set[str]], good: str, bad: str) -> None:
    assert judge(good) == set()
    assert judge(bad)
