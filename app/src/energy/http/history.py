"""`GET /v1/devices/…/readings` and `GET /v1/accounts/…/readings`: stored readings, newest first, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from energy.http.queries import Access, TimeText, json, parameters, path_of, time_of
from energy.store.ports import HistoryQuery, HistoryStore
from energy.wire.answers import HistoryPage, ReadingOut
from energy.wire.cursors import cursor_after, place_of
from energy.wire.problems import Problem


class HistoryParameters(msgspec.Struct):
    """Which readings, and how many of them."""

    limit: Annotated[int, Meta(ge=1, description="Most readings of the page.")] = 100
    cursor: Annotated[str, Meta(max_length=200, description="`next_cursor` of the page before.")] | None = None
    from_: Annotated[TimeText, Meta(description="Inclusive; with a UTC offset.")] | None = msgspec.field(
        name="from", default=None
    )
    to: Annotated[TimeText, Meta(description="Exclusive; with a UTC offset.")] | None = None


class DevicePath(msgspec.Struct):
    """Whose history."""

    device_id: UUID


class AccountPath(msgspec.Struct):
    """Whose history."""

    account_no: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


@dataclass(frozen=True, slots=True)
class History:
    """Both histories."""

    store: HistoryStore
    access: Access
    items_max: int

    async def of_device(self, request: Request) -> Response:
        """A device's readings."""
        device_id = path_of(request, DevicePath).device_id
        credential = await self.access.to_device(request, "read", device_id)
        return await self._page(request, device_id, None, await self.access.bindings.sees_from(credential, device_id))

    async def of_account(self, request: Request) -> Response:
        """The readings of all meters of an account."""
        account_no = path_of(request, AccountPath).account_no
        await self.access.to_account(request, "read", account_no)
        return await self._page(request, None, account_no)

    async def _page(
        self, request: Request, device_id: UUID | None, account_no: str | None, sees_from: datetime | None = None
    ) -> Response:
        asked = parameters(request, HistoryParameters)
        if asked.limit > self.items_max:
            raise Problem("invalid", f"`limit` can be at most {self.items_max}.")
        begin, end = time_of("from", asked.from_), time_of("to", asked.to)
        after = place_of(asked.cursor) if asked.cursor is not None else None
        # One more than asked for: it says whether there is a next page.
        page = await self.store.history(
            HistoryQuery(device_id, account_no, asked.limit + 1, _later(begin, sees_from), end, after)
        )
        items = page.items[: asked.limit]
        document = HistoryPage(
            [ReadingOut.of(item) for item in items], cursor_after(items[-1]) if len(page.items) > asked.limit else None
        )
        return json(document, {"energy-read-from": page.read_from})


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)
