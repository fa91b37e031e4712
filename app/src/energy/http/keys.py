"""`/v1/keys`: making, listing and ending API keys, for systems that hand them out by the thousand.

A secret is in the answer that makes it and nowhere else. The command line does the same without the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from energy.http.auth import new_key
from energy.http.body import read_body, require_json
from energy.http.queries import Access, json, parameters, path_of, refuse_far
from energy.http.shares import Turns
from energy.store.ports import ApiKey, KeyAdmin, KeyListing
from energy.wire.batches import slices_of_array
from energy.wire.bodies import json_of
from energy.wire.problems import Problem

KEYS_AT_ONCE_MAX = 1_000
KEYS_AT_A_TIME = 50
"""Keys read and made between two looks at the other requests."""

Scope = Literal["ingest", "read", "admin"]
KeySource = Literal["meter", "person", "head_end"]
Short = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


class KeyIn(msgspec.Struct, forbid_unknown_fields=True):
    """A key to be made. `source`: what its readings come from, whatever its client says."""

    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=3)]
    device_id: UUID | None = None
    account_no: Short | None = None
    source: KeySource | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    note: Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f]*$")] = ""


class NewKey(msgspec.Struct):
    """A key that was made: `token` is shown here and never again."""

    key_id: str
    token: str


class NewKeys(msgspec.Struct):
    """In the order they were asked for."""

    keys: list[NewKey]


class KeyOut(msgspec.Struct):
    """What may be shown of a key. `last_used_at` is exact to about the time for which keys are remembered."""

    key_id: str
    scopes: list[str]
    device_id: UUID | None
    account_no: str | None
    source: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    note: str

    @classmethod
    def of(cls, key: KeyListing) -> KeyOut:
        """The document of a listed key."""
        return cls(
            key.key_id, key.scopes.split(","), key.device_id, key.account_no, key.source, key.created_at, key.expires_at,
            key.revoked_at, key.last_used_at, key.note,
        )  # fmt: skip


class KeyPage(msgspec.Struct):
    """Keys in the order of their ids; `next_after` is the parameter `after` of the next page."""

    items: list[KeyOut]
    next_after: str | None


class KeyParameters(msgspec.Struct):
    """Which keys."""

    after: Annotated[str, Meta(max_length=128, pattern=r"^[!-~]*$", description="`next_after` of the page before.")] = (
        ""
    )
    limit: Annotated[int, Meta(ge=1, le=KEYS_AT_ONCE_MAX, description="Most keys of the page.")] = 100


class KeyPath(msgspec.Struct):
    """Which key: the part of the token before the dot."""

    key_id: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[!-~]+$")]


@dataclass(frozen=True, slots=True)
class Keys:
    """For keys with the scope `admin` that are bound to nothing."""

    store: KeyAdmin
    access: Access
    now: Callable[[], datetime]
    body_bytes_max: int
    _turns: Turns = field(init=False, default_factory=Turns)

    async def create(self, request: Request) -> Response:
        """Makes all of the keys, or none."""
        await self.access.to_everything(request, "admin")
        require_json(request.scope["header_map"])
        body = await read_body(request.scope, request.receive, self.body_bytes_max)
        made: list[tuple[str, ApiKey, str]] = []
        for raws in slices_of_array(body, KEYS_AT_A_TIME):
            made += [self._made(json_of(bytes(raw), KeyIn)) for raw in raws[: KEYS_AT_ONCE_MAX + 1 - len(made)]]
            await self._turns.next()
        if not 1 <= len(made) <= KEYS_AT_ONCE_MAX:
            raise Problem("invalid", f"Ask for 1 to {KEYS_AT_ONCE_MAX} keys at once.")
        await self.store.create([(key, note) for _, key, note in made])
        return json(NewKeys([NewKey(key.key_id, token) for token, key, _ in made]), status=201)

    def _made(self, wanted: KeyIn) -> tuple[str, ApiKey, str]:
        ends_at = wanted.expires_at
        if ends_at is not None:
            refuse_far("expires_at", ends_at)
            if ends_at <= self.now():
                raise Problem("invalid", "`expires_at` is over already.")
        return *new_key(
            frozenset(wanted.scopes), wanted.device_id, wanted.account_no, ends_at, wanted.source
        ), wanted.note

    async def page(self, request: Request) -> Response:
        """Lists keys."""
        await self.access.to_everything(request, "admin")
        asked = parameters(request, KeyParameters)
        found = await self.store.page(asked.after, asked.limit + 1)
        items = found[: asked.limit]
        return json(KeyPage([KeyOut.of(key) for key in items], items[-1].key_id if len(found) > asked.limit else None))

    async def revoke(self, request: Request) -> Response:
        """Ends a key."""
        await self.access.to_everything(request, "admin")
        if not await self.store.revoke(path_of(request, KeyPath).key_id):
            raise Problem("not_found", "There is no valid key of that id.")
        return Response(status_code=204)
