"""What the endpoints for people and billing have in common: who may ask, and how parameters and documents are read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from energy.http.auth import Authenticator, Credential
from energy.http.binding import Bindings
from energy.wire.bodies import Aware
from energy.wire.problems import Problem

TimeText = Annotated[str, Meta(max_length=40, extra_json_schema={"format": "date-time"})]
_Shape = TypeVar("_Shape", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Access:
    """Whether a request's key may ask what it asks. Everything here raises `Problem`."""

    authenticator: Authenticator
    bindings: Bindings

    async def to_device(self, request: Request, scope: str, device_id: UUID) -> Credential:
        """For a key that may speak for the device."""
        credential = await self._credential(request, scope)
        await self.bindings.check(credential, device_id)
        return credential

    async def to_account(self, request: Request, scope: str, account_no: str) -> Credential:
        """For a key that may see the whole account."""
        credential = await self._credential(request, scope)
        self.bindings.check_account(credential, account_no)
        return credential

    async def to_everything(self, request: Request, scope: str) -> Credential:
        """For a key that is bound to nothing."""
        credential = await self._credential(request, scope)
        if credential.device_id is not None or credential.account_no is not None:
            raise Problem("forbidden", "A key that is bound to a device or an account cannot ask for all of them.")
        return credential

    async def _credential(self, request: Request, scope: str) -> Credential:
        return await self.authenticator.credential(request.scope["header_map"].get(b"authorization"), scope)


def parameters(request: Request, shape: type[_Shape]) -> _Shape:
    """The parameters of the query string. Raises `Problem`, also for one that is unknown: a misspelt `from` is not everything."""
    given = request.query_params.multi_items()
    known = [field.encode_name for field in msgspec.structs.fields(shape)]
    names = [name for name, _ in given]
    for name in names:
        if name not in known:
            have = f"has {', '.join(f'`{each}`' for each in known)}" if known else "has none"
            raise Problem("malformed", f"There is no parameter {name[:40]!r}; this address {have}.")
        if names.count(name) > 1:
            raise Problem("malformed", f"The parameter `{name}` occurs more than once.")
    return _converted(dict(given), shape)


def time_of(name: str, text: str | None) -> datetime | None:
    """A parameter as an instant. Raises `Problem`, also for a bare number: `from=20261101` is no second of 1970."""
    if text is None:
        return None
    try:
        at = msgspec.convert(text, Aware)
    except msgspec.ValidationError:
        example = "2026-11-01T00:00:00+04:00"
        raise Problem("invalid", f"`{name}` has to be a date and time with a UTC offset, such as {example}.") from None
    refuse_far(name, at)
    return at


def refuse_far(name: str, at: datetime) -> None:
    """Raises `Problem` for what the database's dates cannot carry."""
    if not 1900 < at.year < 9000:  # noqa: PLR2004 - those
        raise Problem("invalid", f"`{name}` has to be between the years 1901 and 8999.")


def path_of(request: Request, shape: type[_Shape]) -> _Shape:
    """The parameters in the path. Raises `Problem`."""
    return _converted(request.path_params, shape)


def _converted(given: Mapping[str, str], shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise Problem("invalid", f"{error}.") from None


def json(document: object, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(document), status, headers, "application/json")
