"""Every request to the Kubernetes API, and nothing else.

Kopf watches and wakes; what the operator reads and writes by itself goes through these few verbs, on the HTTP library
and the credentials that kopf uses too. There are no retries here: the next tick is the retry, with fresh objects. Every
request has a deadline, and every write to an existing object carries the resourceVersion it was decided on.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import aiohttp
import kopf
import msgspec

from prescaler import metrics
from prescaler.kube import objects as o
from prescaler.kube.objects import FIELD_MANAGER

log = logging.getLogger(__name__)

PAGE_SIZE = 250  # bounds what one answer may take in memory
REQUEST_TIMEOUT_S = 10.0
CONNECTIONS_MAX = 20
RETRY_AFTER_MAX_S = 60.0

T = TypeVar("T", bound=msgspec.Struct)


class KubeError(Exception):
    """The API server refused, or could not be reached (status 0). The message is the server's own."""

    def __init__(self, status: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status or 'no answer'}: {message}")
        self.status = status
        self.retry_after_s = retry_after_s


def _segment(part: str) -> str:
    if set(part) <= {"."}:
        raise KubeError(400, f"`{part}` is not a name")
    return quote(part, safe="")


@dataclass(frozen=True)
class Kind(Generic[T]):
    prefix: str
    plural: str
    type: type[T]

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Names are data: whatever they hold, they stay one segment of the path."""
        parts = (["namespaces", namespace] if namespace else []) + [self.plural, name, subresource]
        return f"/{self.prefix}/" + "/".join(_segment(part) for part in parts if part)


WINDOWS = Kind(f"apis/{o.GROUP}/{o.VERSION}", "billingwindows", o.BillingWindow)
HPAS = Kind("apis/autoscaling/v2", "horizontalpodautoscalers", o.Hpa)
SCALED_OBJECTS = Kind("apis/keda.sh/v1alpha1", "scaledobjects", o.ScaledObject)
DEPLOYMENTS = Kind("apis/apps/v1", "deployments", o.Workload)
STATEFUL_SETS = Kind("apis/apps/v1", "statefulsets", o.Workload)
PODS = Kind("api/v1", "pods", o.Pod)
NODES = Kind("api/v1", "nodes", o.Node)
QUOTAS = Kind("api/v1", "resourcequotas", o.Quota)
CONFIG_MAPS = Kind("api/v1", "configmaps", o.ConfigMap)
EVENTS = Kind("api/v1", "events", o.Event)
LEASES = Kind("apis/coordination.k8s.io/v1", "leases", o.Lease)


class NoCredentialsError(Exception):
    """Nothing tells which cluster it is; trying again would not help."""


class _Status(msgspec.Struct):
    message: str = ""


class _ListMeta(msgspec.Struct, rename="camel"):
    next_page: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    items: list[msgspec.Raw]
    metadata: _ListMeta


def credentials() -> kopf.ConnectionInfo:
    """The pod's service account, or else the kubeconfig. Read anew after a 401, because tokens are rotated."""
    settings = kopf.OperatorSettings()
    found = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise NoCredentialsError("no credentials: run inside a cluster, or name a kubeconfig in KUBECONFIG")
    return found


class Kube:
    def __init__(
        self, connect: Callable[[], kopf.ConnectionInfo] = credentials, *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> None:
        self._connect = connect
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def list(self, kind: Kind[T], namespace: str | None) -> list[T]:
        """An item that can't be understood is left out and counted: it must not cost the others."""
        decode = msgspec.json.Decoder(kind.type).decode
        query = {"limit": str(PAGE_SIZE)}
        found: list[T] = []
        while True:
            page = _understood(await self._request("GET", kind.path(namespace), kind.plural, query=query), _List)
            for item in page.items:
                try:
                    found.append(decode(item))
                except msgspec.MsgspecError as error:
                    log.warning("%s: an object can't be understood: %s", kind.plural, error)
                    metrics.ERRORS.labels("undecodable").inc()
            if not page.metadata.next_page:
                return found
            query["continue"] = page.metadata.next_page

    async def get(self, kind: Kind[T], namespace: str, name: str) -> T | None:
        try:
            body = await self._request("GET", kind.path(namespace, name), kind.plural)
        except KubeError as error:
            if error.status == 404:  # noqa: PLR2004 - the one well-known status
                return None
            raise
        return _understood(body, kind.type)

    async def scale(self, api_version: str, kind: str, namespace: str, name: str) -> o.Scale:
        """The scale subresource of an object whose kind is known by name only."""
        prefix = "/".join(_segment(part) for part in ("apis" if "/" in api_version else "api", *api_version.split("/")))
        known = _understood(await self._request("GET", f"/{prefix}", "discovery"), o.ApiResources)
        plural = next((r.name for r in known.resources if r.kind == kind and "/" not in r.name), None)
        if plural is None:
            raise KubeError(404, f"{api_version} has no kind {kind}")
        resource = Kind(prefix, plural, o.Scale)
        return _understood(await self._request("GET", resource.path(namespace, name, "scale"), "scale"), o.Scale)

    async def create(self, kind: Kind[Any], namespace: str, body: dict[str, Any]) -> None:
        await self._request("POST", kind.path(namespace), kind.plural, query={"fieldManager": FIELD_MANAGER}, body=body)

    async def patch(self, kind: Kind[T], seen: o.Meta, changes: dict[str, Any], subresource: str = "") -> T:
        """Merge `changes` into the object if it still is as it was `seen`; else 409: the next tick decides anew."""
        metadata = {**changes.get("metadata", {}), "resourceVersion": seen.resource_version}
        answer = await self._request(
            "PATCH",
            kind.path(seen.namespace, seen.name, subresource),
            kind.plural,
            query={"fieldManager": FIELD_MANAGER},
            body={**changes, "metadata": metadata},
        )
        return _understood(answer, kind.type)

    async def delete(self, kind: Kind[T], seen: o.Meta) -> None:
        await self._request("DELETE", kind.path(seen.namespace, seen.name), kind.plural)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(
        self, verb: str, path: str, resource: str, *, query: dict[str, str] | None = None, body: object = None
    ) -> bytes:
        try:
            status, answer, retry_after = await self._send(verb, path, query, body)
            if status == 401:  # noqa: PLR2004 - the token has expired: log in again, once
                await self.close()
                status, answer, retry_after = await self._send(verb, path, query, body)
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:  # RuntimeError: closed meanwhile
            metrics.REQUESTS.labels(verb, resource, "none").inc()
            raise KubeError(0, f"{verb} {path}: {str(error) or type(error).__name__}") from error
        metrics.REQUESTS.labels(verb, resource, str(status)).inc()
        if status >= 400:  # noqa: PLR2004 - HTTP's own border
            raise KubeError(status, f"{verb} {path}: {_message(answer)}", _seconds(retry_after))
        return answer

    async def _send(
        self, verb: str, path: str, query: dict[str, str] | None, body: object
    ) -> tuple[int, bytes, str | None]:
        if self._session is None:
            self._session = self._open()
        headers = {"Content-Type": "application/merge-patch+json" if verb == "PATCH" else "application/json"}
        content = msgspec.json.encode(body) if body is not None else None
        async with self._session.request(verb, path, params=query, data=content, headers=headers) as response:
            self._note_time(response.headers.get("Date"))
            return response.status, await response.read(), response.headers.get("Retry-After")

    def _note_time(self, told: str | None) -> None:
        """How far this machine's clock is from the API server's: windows open by the former."""
        if told is not None:
            with suppress(ValueError, TypeError):
                metrics.CLOCK_SKEW.set((datetime.now(UTC) - parsedate_to_datetime(told)).total_seconds())

    def _open(self) -> aiohttp.ClientSession:
        info = self._connect()
        return aiohttp.ClientSession(
            info.server.rstrip("/") + "/",
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=info.as_ssl_context()),
            headers={**info.as_http_headers(), "Accept": "application/json", "User-Agent": FIELD_MANAGER},
            timeout=self._timeout,
            proxy=info.proxy_url,
            trust_env=info.trust_env,
        )


def _understood(answer: bytes, to: type[T]) -> T:
    """Raises KubeError: what a proxy in between makes up is no answer."""
    try:
        return msgspec.json.decode(answer, type=to)
    except msgspec.DecodeError as error:
        raise KubeError(0, f"not an answer of Kubernetes: {error}") from error


def _message(answer: bytes) -> str:
    try:
        return msgspec.json.decode(answer, type=_Status).message
    except msgspec.DecodeError:  # a proxy in between answers in HTML
        return answer[:200].decode(errors="replace")


def _seconds(retry_after: str | None) -> float | None:
    """Never more than a minute: whoever answers for the API server doesn't decide how long nobody looks."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return None
    return min(float(retry_after), RETRY_AFTER_MAX_S)
