"""JSON schemas for kubeconform out of an API server's own OpenAPI document: no download, and our CRD is among them.

kubeconform looks for one file per kind; references are written out, and unknown fields are refused as `-strict` wants.
"""

import json
from pathlib import Path
from typing import Any

REFERENCE = "#/definitions/"
FILE_NAME = "{kind}-{group}-{version}.json"  # kubeconform calls the core group "v1"
LOCATION = "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json"
STRING_OR_NUMBER = {"int-or-string", "quantity"}


def write_schemas(document: dict[str, Any], folder: Path) -> str:
    """Writes the schemas and gives kubeconform's `-schema-location`."""
    definitions = document["definitions"]
    for definition in definitions.values():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            name = FILE_NAME.format(
                kind=kind["kind"].lower(), group=kind["group"] or kind["version"], version=kind["version"]
            )
            (folder / name).write_text(json.dumps(_written_out(definition, definitions)))
    return str(folder / LOCATION)


def _written_out(schema: Any, definitions: dict[str, Any], inside: tuple[str, ...] = ()) -> Any:
    if isinstance(schema, list):
        return [_written_out(item, definitions, inside) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):  # the schema of schemas has a property of that name
        name = schema["$ref"].removeprefix(REFERENCE)
        if name.endswith(("IntOrString", "Quantity")):
            return {"type": ["string", "number"]}
        if name in inside:  # only the schema of schemas contains itself
            return {}
        return _written_out(definitions[name], definitions, (*inside, name))
    found = {
        key: _written_out(value, definitions, inside)
        for key, value in schema.items()
        if not (key.startswith("x-kubernetes") and key != "x-kubernetes-preserve-unknown-fields")
    }
    if str(found.get("format")) in STRING_OR_NUMBER:
        found["type"] = ["string", "number"]
    if found.get("type") == "object" and "properties" in found and "additionalProperties" not in found:
        found["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    return found
