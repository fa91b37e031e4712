"""BillingWindows in files, as `kubectl apply` would take them: YAML or JSON, several documents, `kind: List`, or standard input.

They are checked against crd.yaml with all its rules, so that what passes here passes the API server, and the other way round.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prescaler.kube.objects import GROUP, VERSION
from prescaler.plan.occurrences import TooLargeError, without_effect
from prescaler.plan.planner import plan
from prescaler.plan.schedule import Schedule
from prescaler.window.manifest import documents
from prescaler.window.schema import InvalidSpecError
from prescaler.window.spec import ExceptionDoc, Spec, parse, parse_exceptions

STDIN = Path("-")
KNOWN = {"apiVersion", "kind", "metadata", "spec", "status"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAME_MAX = 253


@dataclass(frozen=True, slots=True)
class Loaded:
    name: str
    spec: Spec
    exceptions: tuple[ExceptionDoc, ...] = ()

    @property
    def schedule(self) -> Schedule:
        return self.spec.schedule(self.exceptions)

    def mistakes(self) -> list[str]:
        """What is allowed and can't be meant."""
        return [f"exception {e.action} of {e.day} changes nothing" for e in without_effect(self.schedule)]


def load(path: Path, exceptions: Path | None = None) -> Loaded:
    """The one BillingWindow in a file. Raises InvalidSpecError."""
    found = load_all(path, exceptions)
    if len(found) != 1:
        raise InvalidSpecError(f"{path}: holds {len(found)} objects of kind BillingWindow; exactly one is needed")
    return found[0]


def load_all(path: Path, exceptions: Path | None = None) -> list[Loaded]:
    more: tuple[ExceptionDoc, ...] = ()
    if exceptions is not None:
        try:
            more = parse_exceptions(_text(exceptions), rules=True)
        except InvalidSpecError as error:
            raise InvalidSpecError(f"{exceptions}: {error}") from error
    return [_loaded(path, body, more) for body in objects(path)]


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """Every object of the kind in a file, unchecked."""
    for document in documents(_text(path), str(path)):
        if not isinstance(document, dict):
            continue
        items = document.get("items")
        inside = items if str(document.get("kind", "")).endswith("List") and isinstance(items, list) else [document]
        yield from (item for item in inside if isinstance(item, dict) and item.get("kind") == "BillingWindow")


def _loaded(path: Path, body: dict[str, Any], more: tuple[ExceptionDoc, ...]) -> Loaded:
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or len(name) > NAME_MAX or not _NAME.fullmatch(name):
        raise InvalidSpecError(f"{path}: metadata.name: `{name!s:.80}` is not a name that Kubernetes takes")
    where = f"{path}: {name}"
    if body.get("apiVersion") != f"{GROUP}/{VERSION}":
        raise InvalidSpecError(f"{where}: apiVersion: must be {GROUP}/{VERSION}")
    if unknown := body.keys() - KNOWN:
        raise InvalidSpecError(f"{where}: unknown field {min(map(str, unknown)):.80}")
    try:
        loaded = Loaded(name, parse(body.get("spec"), rules=True), more)
        plan(loaded.schedule, datetime.now(UTC))  # the operator refuses what is too large
    except (InvalidSpecError, TooLargeError) as error:
        raise InvalidSpecError(f"{where}: {error}") from error
    return loaded


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if path == STDIN else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpecError(f"{path}: can't be read: {error}") from error
