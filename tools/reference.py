"""Writes the pages of docs/ that are tables of what the code has: `make reference`.

They exist so that nothing of the product is undocumented, and nobody has to remember to add it: a test compares each page
with what this module would write. Settings, the API, metrics, alerts and the fields of a BillingWindow are read from
their own sources; the load lab's settings stand in docs/load.md and the chart's values in its README, each with a test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo

import energy.metrics
import prescaler.metrics
from energy.service import Service
from energy.settings import Settings
from energy.wire.problems import KINDS
from prescaler.window.verdict import VERDICTS
from tools import figures, quotes
from tools.keda import page as comparison

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = "This page is made by `make reference`"
PROBES = {
    "/livez": "Alive: the event loop turns. Never asks the database.",
    "/readyz": "Ready: the schema is there and the queue takes readings; 503 with the reason otherwise.",
    "/metrics": "For Prometheus: [metrics](metrics.md).",
    "/docs": "This page's longer form, to try out.",
    "/openapi.json": "The same for programs.",
    "/problems": "Every refusal, for people.",
    "/problems/{code}": "What holds after one refusal, and what to do: the `type` of its problem document.",
}


def table(*columns: str) -> str:
    """The head of a table."""
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"


def row(*cells: object) -> str:
    """One line of it."""
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |\n"


def code(text: object) -> str:
    """As code, or nothing."""
    return f"`{text}`" if str(text) else ""


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


def settings_page() -> str:
    head = (
        "# Settings\n\nEvery setting of the service is an environment variable. A value that cannot work is refused at start, "
        f"in one sentence that names the variable.\n{MADE} from `app/src/energy/settings.py`.\n\n"
    )
    rows = (
        row(code(f"ENERGY_{name.upper()}"), code(_default(field)), field.description)
        for name, field in Settings.model_fields.items()
    )
    return head + table("Variable", "Default", "What it is") + "".join(rows)


def _default(field: FieldInfo) -> str:
    if field.default is None:
        return ""
    value = field.default.value if isinstance(field.default, Enum) else field.default
    return str(value).lower() if isinstance(value, bool) else str(value)


# ── the API ──────────────────────────────────────────────────────────────────────────────────────


def openapi() -> dict[str, Any]:
    """The service's own description, without a database."""

    async def describe() -> dict[str, Any]:
        service = Service(Settings(auth="off"), "postgresql://nowhere/energy", on_unsafe=print)
        return service.document

    return asyncio.run(describe())


def api_page() -> str:
    head = (
        "# The API\n\nThe running service shows requests and answers in full at `/docs`. "
        f"{MADE} from its OpenAPI document and `app/src/energy/wire/problems.py`.\n\n"
    )
    rows = [
        row(code(f"{method.upper()} {path}"), _first_line(operation), ", ".join(sorted(operation["responses"])))
        for path, methods in sorted(openapi()["paths"].items())
        for method, operation in methods.items()
    ]
    rows += [row(code(f"GET {path}"), meaning, "") for path, meaning in PROBES.items()]
    refusals = [row(kind.status, code(name), kind.title) for name, kind in KINDS.items()]
    return (
        f"{head}{table('Request', 'What it is', 'Answers')}{''.join(rows)}\n## Refusals\n\nA refusal is a document of type "
        "`application/problem+json` (RFC 9457) with a `code` that stays as it is and a `detail` for people. What each answer "
        f"promises is in [guarantees](guarantees.md).\n\n{table('Status', 'Code', 'Title')}{''.join(refusals)}"
    )


def _first_line(operation: dict[str, Any]) -> str:
    return str(operation.get("description") or operation["summary"]).splitlines()[0]


# ── metrics ──────────────────────────────────────────────────────────────────────────────────────


def metrics() -> dict[str, list[tuple[str, str, str, str]]]:
    """Name as it is scraped, kind, labels and meaning, of the service and of the operator."""
    return {"energy": sorted(_objects(energy.metrics)), "prescaler": sorted([*_objects(prescaler.metrics), *_gauges()])}


def _objects(module: Any) -> Iterator[tuple[str, str, str, str]]:
    for thing in vars(module).values():
        if isinstance(thing, MetricWrapperBase):
            family = next(iter(thing.describe()))
            name = family.name + ("_total" if family.type == "counter" else "")
            yield name, family.type, ", ".join(code(label) for label in thing._labelnames), family.documentation


def _gauges() -> Iterator[tuple[str, str, str, str]]:
    """Those that the operator makes anew for every scrape."""
    for family in prescaler.metrics.PerObject().collect():
        yield family.name, family.type, ", ".join(code(label) for label in family._labelnames), family.documentation  # type: ignore[attr-defined]  # each is a GaugeMetricFamily


def metrics_page() -> str:
    head = (
        "# Metrics\n\nHistograms have `_bucket`, `_sum` and `_count` behind their names. Alerts on them, with what to do, are in "
        f"[runbooks](runbooks/README.md).\n{MADE} from the two modules that hold all Prometheus objects.\n"
    )
    titles = {"energy": "The service, at `/metrics`", "prescaler": "The operator, at `/metrics` of its own port"}
    parts = [
        f"\n## {titles[package]}\n\n{table('Metric', 'Kind', 'Labels', 'What it is')}"
        + "".join(row(code(name), kind, labels, meaning.rstrip(".")) for name, kind, labels, meaning in found)
        for package, found in metrics().items()
    ]
    return head + "".join(parts)


# ── alerts ───────────────────────────────────────────────────────────────────────────────────────


def alerts() -> list[dict[str, Any]]:
    """Every alert of the chart."""
    files = sorted((ROOT / "helm/energy/files/alerts").glob("*.yaml"))
    return [rule for file in files for rule in yaml.safe_load(file.read_text())["rules"]]


def alerts_page() -> str:
    head = (
        "# Runbooks\n\nOne page for each alert: what it means, where to look, what to do. Severity `critical` wakes somebody, "
        f"`warning` waits for the morning.\n{MADE} from `helm/energy/files/alerts`.\n\n"
    )
    rows = (
        row(
            f"[{rule['alert']}]({rule['alert']}.md)",
            rule["labels"]["severity"],
            rule.get("for", ""),
            code(" ".join(rule["expr"].split())),
        )
        for rule in alerts()
    )
    return head + table("Alert", "Severity", "After", "When") + "".join(rows)


# ── the BillingWindow ────────────────────────────────────────────────────────────────────────────


def fields() -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Path, schema and whether it has to be there, of every field of spec and status."""
    crd = yaml.safe_load((ROOT / "operator/src/prescaler/crd.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for part in ("spec", "status"):
        yield from _below(part, schema["properties"][part])


def _below(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    inside = schema.get("items", schema)
    for name, child in inside.get("properties", {}).items():
        where = f"{path}{'[]' if 'items' in schema else ''}.{name}"
        yield where, child, name in inside.get("required", ())
        yield from _below(where, child)


def window_page() -> str:
    head = (
        "# BillingWindow\n\n`prescaler.energy-readings.dev/v1alpha1`, short name `bw`. How it behaves is told in "
        "[operator/README.md](../operator/README.md); `kubectl explain bw.spec` says the same as this page.\n"
        f"{MADE} from `operator/src/prescaler/crd.yaml`.\n\n"
    )
    rows = (
        row(code(path), _kind(schema) + (", required" if required else ""), code(_text(schema.get("default", ""))),
            " ".join(schema.get("description", "").split()))
        for path, schema, required in fields()
    )  # fmt: skip
    verdicts = "".join(
        row(
            code(name),
            code(rule.bad or ""),
            f"[{rule.alert}](runbooks/{rule.alert}.md)" if rule.alert else "",
            rule.meaning,
        )
        for name, rule in VERDICTS.items()
    )
    return (
        f"{head}{table('Field', 'Type', 'Default', 'What it is')}{''.join(rows)}\n## Conditions\n\nFrom "
        "`operator/src/prescaler/window/verdict.py`. A condition that turns to its bad value is a Warning event; the metric "
        "`prescaler_condition` has it for objects that act.\n\n"
        f"{table('Condition', 'Bad', 'Alert', 'What it says')}{verdicts}"
    )


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "items" in schema:
        return "list"
    return str(schema.get("format") or schema["type"])


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {inner}" for key, inner in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


# ── decisions ────────────────────────────────────────────────────────────────────────────────────


def decisions_page() -> str:
    head = (
        "# Decisions\n\nOne page for each decision that others will ask about: context, decision, consequences.\n"
        "Numbers are given by subject, with room between: 1 the service, 10 its data, 15 its server, 20 the tests, 30 the operator,\n"
        "40 the chart, 50 the load lab, 60 the documents. A number is never given again; a decision that is no longer true says\n"
        "which one replaced it.\n"
        f"{MADE} from their titles.\n\n"
    )
    found = sorted(path for path in (DOCS / "adr").glob("*.md") if path.name != "README.md")
    titles = [(path.name, path.read_text().partition("\n")[0].removeprefix("# ")) for path in found]
    return head + "".join(f"- [{title}]({name})\n" for name, title in titles)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "api.md": api_page,
    "metrics.md": metrics_page,
    "runbooks/README.md": alerts_page,
    "billingwindow.md": window_page,
    "adr/README.md": decisions_page,
    "measured/README.md": lambda: figures.page(DOCS / "measured"),
    "comparison.md": lambda: comparison.page("en"),
    "comparison.ru.md": lambda: comparison.page("ru"),
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
    for path in quotes.pages_with_figures():
        path.write_text(quotes.filled(path.name, path.read_text()))
