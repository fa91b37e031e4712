"""What a BillingWindow may say: crd.yaml, the one source, applied here as the API server applies it.

The API server refuses what the schema and its rules (CEL) refuse. The command line reads files that no server has seen,
so it checks them against the same document and fills in the same defaults. The operator checks structure only: it must
survive whatever it is handed, and the rules have been enforced by then.
"""

import reprlib
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

import fastjsonschema
import yaml

Schema = dict[str, Any]

EXCEPTIONS_MAX = 2_000  # of a list in a ConfigMap
MESSAGE_MAX = 400


class InvalidSpecError(ValueError):
    """The message says what is wrong, where, and what to write instead."""


@cache
def crd_text() -> str:
    return resources.files("prescaler").joinpath("crd.yaml").read_text(encoding="utf-8")


def checked(raw: object, what: str, *, rules: bool = False) -> Any:
    """`raw`, a "spec" or a list of "exceptions", with the schema's defaults. Raises InvalidSpecError at the first mistake."""
    filled = _filled(raw, _schema(what))
    try:
        _validator(what, detailed=rules)(filled, name_prefix=what)
    except fastjsonschema.JsonSchemaValueException as error:
        found = "" if isinstance(error.value, dict | list | None) else f"; it is {reprlib.repr(error.value)}"
        raise InvalidSpecError(f"{error.message:.{MESSAGE_MAX}}{found}") from error
    for problem in _broken_rules(filled, _schema(what), what) if rules else ():
        raise InvalidSpecError(problem)
    return filled


@cache
def _schema(what: str) -> Schema:
    crd = yaml.safe_load(crd_text())
    spec: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec if what == "spec" else spec["properties"][what] | {"maxItems": EXCEPTIONS_MAX}


@cache
def _validator(what: str, *, detailed: bool) -> Callable[..., Any]:
    """`detailed`: a mistake comes with the value that was found. That costs the code of each check its schema, 8 MiB."""
    compiled: Callable[..., Any] = fastjsonschema.compile(
        _strict(_schema(what)), formats={"date": _is_date}, use_default=False, detailed_exceptions=detailed
    )
    return compiled


def _strict(schema: Schema) -> Schema:
    """With what the API server adds by itself: there are no other fields, and nothing is twice in a set."""
    strict = schema | ({"uniqueItems": True} if schema.get("x-kubernetes-list-type") == "set" else {})
    if "properties" in schema:
        fields = {name: _strict(child) for name, child in schema["properties"].items()}
        strict |= {"properties": fields, "additionalProperties": False}
    if "items" in schema:
        strict["items"] = _strict(schema["items"])
    return strict


def _is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


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
    if isinstance(value, float) and value.is_integer() and schema["type"] == "integer":
        return int(value)  # JSON has one kind of number
    return value


def _broken_rules(value: Any, schema: Schema, where: str) -> Iterator[str]:
    import cel  # noqa: PLC0415 - 30 MiB that only the command line needs

    if isinstance(value, dict):
        for name, found in value.items():
            yield from _broken_rules(found, schema["properties"][name], f"{where}.{name}")
    elif isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys", ())
        if keys and len({tuple(item[key] for key in keys) for item in value}) < len(value):
            yield f"{where} must contain unique items: there are two with the same {' and '.join(keys)}"
        for i, item in enumerate(value):
            yield from _broken_rules(item, schema["items"], f"{where}[{i}]")
    for rule in schema.get("x-kubernetes-validations", ()):
        if cel.evaluate(rule["rule"], {"self": value}) is not True:
            yield f"{where}: {rule['message']}"
