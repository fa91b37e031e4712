"""A Kubernetes API of a few hundred lines, in memory: what the operator's suite needs of it, with the same refusals.

Has resourceVersions as preconditions, merge patches, a status of its own, finalizers, generations, defaults and refusals by
the CRD's schema and rules, and `managedFields` for the minimum. The same suite runs against a real API server in
tests/cluster/operator, which is what keeps this one honest.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from prescaler.window.schema import InvalidSpecError, checked

Body = dict[str, Any]
Key = tuple[str, str, str, str]  # prefix, plural, namespace, name
Answer = tuple[int, bytes, str | None]

MINIMUMS = {"horizontalpodautoscalers": "minReplicas", "scaledobjects": "minReplicaCount"}
KINDS = {"argoproj.io/v1alpha1": [{"name": "rollouts", "kind": "Rollout"}]}


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    prefix: str
    plural: str
    namespace: str
    name: str = ""
    sub: str = ""

    @classmethod
    def of(cls, path: str) -> "Request":
        parts = [unquote(part) for part in path.strip("/").split("/")]
        taken = 2 if parts[0] == "api" else 3
        prefix, rest = "/".join(parts[:taken]), parts[taken:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        return cls(prefix, *[rest[0] if rest else "", namespace, *rest[1:3]])

    @property
    def key(self) -> Key:
        return self.prefix, self.plural, self.namespace, self.name


@dataclass
class MemoryApi:
    validates: bool = True  # off: it stores anything, as no real one does
    objects: dict[Key, Body] = field(default_factory=dict)
    admission: Callable[[str, str, Body], tuple[int, str] | None] = lambda _verb, _path, _body: None
    requests: list[str] = field(default_factory=list)
    version: int = 0
    made: int = 0

    def handle(self, verb: str, path: str, query: dict[str, str] | None, body: Any) -> Answer:
        self.requests.append(f"{verb} {path}")
        request, manager = Request.of(path), (query or {}).get("fieldManager", "unknown")
        try:
            refusal = self.admission(verb, path, body or {})
            if refusal is not None:
                raise Refused(*refusal)  # noqa: TRY301 - answered like every other refusal
            answer = {
                "GET": lambda: self._get(request, query or {}),
                "POST": lambda: self._create(request, body, manager),
                "PATCH": lambda: self._patch(request, body, manager),
                "DELETE": lambda: self._delete(request),
            }[verb]()
        except Refused as refused:
            return refused.status, json.dumps({"message": str(refused)}).encode(), None
        return 200, json.dumps(answer).encode(), None

    def _get(self, request: Request, query: dict[str, str]) -> Body:
        if not request.plural:
            return {"resources": KINDS.get(request.prefix.removeprefix("apis/"), [])}
        if request.name:
            one = self._known(request)
            return {"metadata": one["metadata"], "status": one["status"]} if request.sub == "scale" else one
        label = query.get("labelSelector", "")
        kept = (request.prefix, request.plural)
        found = sorted((key[2:], stored) for key, stored in self.objects.items() if key[:2] == kept)
        items = [
            stored
            for (namespace, _), stored in found
            if request.namespace in {"", namespace}
            if not label or label in {f"{k}={v}" for k, v in stored["metadata"].get("labels", {}).items()}
        ]
        start, size = int(query.get("continue", 0)), int(query.get("limit", len(items) or 1))
        following = str(start + size) if start + size < len(items) else ""
        return {"items": items[start : start + size], "metadata": {"continue": following}}

    def _create(self, request: Request, body: Body, manager: str) -> Body:
        made = dict(body) | {"metadata": dict(body.get("metadata", {}))}
        meta = made.setdefault("metadata", {})
        key = (*request.key[:3], meta["name"])
        if key in self.objects:
            raise Refused(409, f"{meta['name']} exists already")
        self.made += 1
        born = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.made)
        meta |= {"namespace": request.namespace, "uid": str(uuid.UUID(int=self.made)), "generation": 1}
        meta["creationTimestamp"] = born.strftime("%Y-%m-%dT%H:%M:%SZ")
        self._admit(request.plural, made)
        name = MINIMUMS.get(request.plural)
        if name is not None and name in made["spec"]:
            meta["managedFields"] = _owned(manager, name)
        return self._store(key, made)

    def _patch(self, request: Request, body: Body, manager: str) -> Body:
        found = self._known(request)
        expected = body.get("metadata", {}).get("resourceVersion")
        if expected not in {None, found["metadata"]["resourceVersion"]}:
            raise Refused(409, "the object has been modified")
        allowed = (
            {"status": body.get("status")}
            if request.sub == "status"
            else {k: v for k, v in body.items() if k != "status"}
        )
        changed = _merged(found, allowed)
        changed["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        if request.sub != "status":
            self._admit(request.plural, changed)
            if changed.get("spec") != found.get("spec"):
                changed["metadata"]["generation"] += 1
            name = MINIMUMS.get(request.plural)
            if name is not None and changed["spec"].get(name) != found["spec"].get(name):
                changed["metadata"]["managedFields"] = _owned(manager, name) if name in changed["spec"] else []
        if changed == found:
            return found
        if changed["metadata"].get("deletionTimestamp") and not changed["metadata"].get("finalizers"):
            return self.objects.pop(request.key)
        return self._store(request.key, changed)

    def _delete(self, request: Request) -> Body:
        found = self._known(request)
        if not found["metadata"].get("finalizers"):
            return self.objects.pop(request.key)
        if "deletionTimestamp" not in found["metadata"]:
            going = json.loads(json.dumps(found))
            going["metadata"] |= {
                "deletionTimestamp": "2026-06-01T00:00:00Z",
                "generation": found["metadata"]["generation"] + 1,
            }
            return self._store(request.key, going)
        return found

    def _known(self, request: Request) -> Body:
        try:
            return self.objects[request.key]
        except KeyError:
            raise Refused(404, f"{request.plural} {request.name} not found") from None

    def _store(self, key: Key, body: Body) -> Body:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = body
        return body

    def _admit(self, plural: str, body: Body) -> None:
        if not self.validates:
            return
        if plural == "billingwindows":
            try:
                body["spec"] = checked(body.get("spec"), "spec", rules=True)
            except InvalidSpecError as error:
                raise Refused(422, str(error)) from error
        if plural == "horizontalpodautoscalers":
            spec = body["spec"]
            spec.setdefault("minReplicas", 1)
            if not 1 <= spec["minReplicas"] <= spec["maxReplicas"]:
                raise Refused(422, "maxReplicas must be greater than or equal to minReplicas")


def _owned(manager: str, name: str) -> list[Body]:
    return [{"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {f"f:{name}": {}}}}]


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return json.loads(json.dumps(patch))
    result = json.loads(json.dumps(target)) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
