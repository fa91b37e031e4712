"""What a BillingWindow may say: crd.yaml, the one source, applied here as the API server applies it.

The API server refuses what the schema and its rules (CEL) refuse. The command line reads files that no server has seen,
so it checks them against the same document and fills in the same defaults. The operator checks structure only: it must
survive whatever it is handed, and the rules have been enforced by then.

Knows the part of OpenAPI that crd.yaml uses, and stops at a keyword that it doesn't know.
"""

import re
import reprlib
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

import yaml

Schema = dict[str, Any]
Check = Callable[[Any, Any], str | None]  # (the keyword's value, the value found) -> what is wrong

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
}
SILENT = {
    "description", "type", "properties", "required", "items", "default", "x-kubernetes-validations",
    "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
}  # fmt: skip


class InvalidSpecError(ValueError):
    """The message says what is wrong, where, and what to write instead."""


@cache
def crd_text() -> str:
    return resources.files("prescaler").joinpath("crd.yaml").read_text(encoding="utf-8")


@cache
def spec_schema() -> Schema:
    crd = yaml.safe_load(crd_text())
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def item_schema(name: str) -> Schema:
    """Of a list that also stands outside of a BillingWindow, such as `exceptions` in a ConfigMap."""
    schema: Schema = spec_schema()["properties"][name]
    return schema


def checked(raw: object, schema: Schema, where: str, *, rules: bool = False) -> Any:
    """`raw` with the schema's defaults filled in. Raises InvalidSpecError at the first thing that is wrong."""
    for path, problem in _problems(filled := _filled(raw, schema), schema, where, rules=rules):
        raise InvalidSpecError(f"{path}: {problem}")
    return filled


def _filled(value: Any, schema: Schema) -> Any:
    if isinstance(value, dict) and "properties" in schema:
        known = {name: found for name, found in value.items() if found is not None}  # the API server drops nulls
        for name, child in schema["properties"].items():
            if name not in known and "default" in child:
                known[name] = child["default"]
            if name in known:
                known[name] = _filled(known[name], child)
        return known
    if isinstance(value, list) and len(value) <= schema.get("maxItems", 0):  # a longer one is refused as it is
        return [_filled(item, schema["items"]) for item in value]
    return value


def _problems(value: Any, schema: Schema, where: str, *, rules: bool) -> Iterator[tuple[str, str]]:
    kind = schema["type"]
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield where, f"is {_named(value)}; it must be of type {kind}"
        return
    for keyword, limit in schema.items():
        problem = CHECKS[keyword](limit, value) if keyword not in SILENT else None
        if problem is not None:
            yield where, problem
    if isinstance(value, dict):
        children = schema.get("properties", {})
        yield from ((f"{where}.{name}", "is required") for name in schema.get("required", ()) if name not in value)
        for name, found in value.items():
            if name not in children:
                yield f"{where}.{name!s:.80}", "unknown field"
            else:
                yield from _problems(found, children[name], f"{where}.{name}", rules=rules)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _problems(item, schema["items"], f"{where}[{i}]", rules=rules)
        yield from _repeated(value, schema, where)
    if rules:
        yield from _broken_rules(value, schema, where)


def _repeated(value: list[Any], schema: Schema, where: str) -> Iterator[tuple[str, str]]:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", ())
    seen: list[Any] = []
    for i, item in enumerate(value if kind in {"set", "map"} else ()):
        identity = [item.get(key) for key in keys] if keys and isinstance(item, dict) else item
        if identity in seen:
            yield f"{where}[{i}]", "is there twice"
        seen.append(identity)


def _broken_rules(value: Any, schema: Schema, where: str) -> Iterator[tuple[str, str]]:
    import cel  # noqa: PLC0415 - 30 MiB that only the command line needs

    for rule in schema.get("x-kubernetes-validations", ()):
        if cel.evaluate(rule["rule"], {"self": value}) is not True:
            yield where, rule["message"]


def _named(value: Any) -> str:
    return "missing" if value is None else f"`{reprlib.repr(value)}`"


def _pattern(pattern: str, text: str) -> str | None:
    return None if re.search(pattern.replace("$", r"\Z"), text) else f"`{text:.80}` does not match {pattern}"


def _format(name: str, value: Any) -> str | None:
    if name != "date":
        return None  # int32 and int64 are bounded beside it
    try:
        date.fromisoformat(value)
    except ValueError:
        return f"`{value:.80}` is not a date of the calendar"
    return None


CHECKS: dict[str, Check] = {
    "enum": lambda allowed, v: None if v in allowed else f"`{v:.80}` is not one of {', '.join(map(str, allowed))}",
    "minimum": lambda least, v: None if v >= least else f"{v} is less than {least}",
    "maximum": lambda most, v: None if v <= most else f"{v!s:.20} is more than {most}",
    "minLength": lambda least, v: None if len(v) >= least else f"is shorter than {least} characters",
    "maxLength": lambda most, v: None if len(v) <= most else f"is longer than {most} characters",
    "minItems": lambda least, v: None if len(v) >= least else f"has {len(v)} entries; at least {least} are needed",
    "maxItems": lambda most, v: None if len(v) <= most else f"has {len(v)} entries; at most {most} are allowed",
    "pattern": _pattern,
    "format": _format,
    "x-kubernetes-list-type": lambda _kind, _v: None,
}
