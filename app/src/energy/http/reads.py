"""The requests that read: history, the window, progress and the billing export; and corrections, which need both sides."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from energy.domain.reading import Committed, Reading, Stored
from energy.domain.window import SubmissionWindow, period_of, window_state
from energy.http.auth import Authenticator, Credential
from energy.http.binding import Bindings
from energy.http.body import read_body
from energy.http.shapes import HistoryOut, ProblemOut, ProgressOut, ReadingOut, WindowOut
from energy.ingest.queue import IngestQueue, Overloaded
from energy.store.ports import HistoryQuery, HistoryStore, StoreError
from energy.wire.answers import REPLAYED, problem_of, receipt_of
from energy.wire.bodies import CorrectionIn, decoder, identity, require_json, value_text
from energy.wire.cursors import cursor_after, place_of
from energy.wire.problems import Problem, busy

EXPORT_COLUMNS = (
    "device_id", "reading_id", "register", "value", "read_at", "received_at", "period", "source", "status", "flags", "supersedes",
)  # fmt: skip
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_REFUSALS = {status: {"model": ProblemOut, "description": "See `code`."} for status in (400, 401, 403, 422, 429, 503)}

_decode_correction = decoder(CorrectionIn)

_T = TypeVar("_T")
Period = Annotated[str, Query(pattern=r"^20\d\d-(0[1-9]|1[0-2])$", description="A month, such as 2026-11.")]


@dataclass(frozen=True, slots=True)
class ReadingSide:
    """What these requests need; made once by the service."""

    store: HistoryStore
    queue: IngestQueue
    authenticator: Authenticator
    bindings: Bindings
    window: SubmissionWindow
    time_zone: str
    now: Callable[[], datetime]
    items_max: int
    body_bytes_max: int
    retry_after_s: int

    def router(self) -> APIRouter:
        """The routes, bound to this side."""
        router = APIRouter(responses=_REFUSALS)  # type: ignore[arg-type]  # FastAPI's own type is wider than it says
        router.get("/v1/devices/{device_id}/readings", response_model=HistoryOut, tags=["history"])(self.device_history)
        router.get("/v1/accounts/{account_no}/readings", response_model=HistoryOut, tags=["history"])(
            self.account_history
        )
        router.post(
            "/v1/readings/{device_id}/{reading_id}/correction",
            status_code=201,
            tags=["readings"],
            responses={
                404: {"model": ProblemOut},
                409: {"model": ProblemOut},
                413: {"model": ProblemOut},
                415: {"model": ProblemOut},
            },
            openapi_extra={
                "requestBody": {"required": True, "content": {"application/json": {"schema": _correction_schema()}}}
            },
        )(self.correct)
        router.get("/v1/window", response_model=WindowOut, tags=["window"])(self.window_now)
        router.get("/v1/progress", response_model=ProgressOut, tags=["billing"])(self.progress)
        router.get("/v1/export", tags=["billing"], response_class=StreamingResponse)(self.export)
        return router

    async def device_history(
        self,
        request: Request,
        response: Response,
        device_id: UUID,
        limit: Annotated[int, Query(ge=1)] = 100,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        from_: Annotated[datetime | None, Query(alias="from", description="Inclusive; with a UTC offset.")] = None,
        to: Annotated[datetime | None, Query(description="Exclusive; with a UTC offset.")] = None,
    ) -> HistoryOut:
        """A device's readings, newest first, from the replica where there is a fresh one (header `Energy-Read-From`)."""
        credential = await self._credential(request, "read")
        await self.bindings.check(credential, device_id)
        return await self._page(response, HistoryQuery(device_id, None, limit, from_, to), cursor)

    async def account_history(
        self,
        request: Request,
        response: Response,
        account_no: str,
        limit: Annotated[int, Query(ge=1)] = 100,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        from_: Annotated[datetime | None, Query(alias="from", description="Inclusive; with a UTC offset.")] = None,
        to: Annotated[datetime | None, Query(description="Exclusive; with a UTC offset.")] = None,
    ) -> HistoryOut:
        """The same for all meters of an account."""
        credential = await self._credential(request, "read")
        self.bindings.check_account(credential, account_no)
        if "\0" in account_no:
            raise Problem("invalid", "An account number has no zero byte.")
        return await self._page(response, HistoryQuery(None, account_no, limit, from_, to), cursor)

    async def _page(self, response: Response, query: HistoryQuery, cursor: str | None) -> HistoryOut:
        if query.limit > self.items_max:
            raise Problem("invalid", f"`limit` can be at most {self.items_max}.")
        for name, at in (("from", query.from_), ("to", query.to)):
            if at is not None and (at.tzinfo is None or not 1900 < at.year < 9000):  # noqa: PLR2004 - what dates can carry
                raise Problem("invalid", f"`{name}` needs a UTC offset, such as 2026-11-15T00:00:00+04:00.")
        after = place_of(cursor) if cursor is not None else None
        query = HistoryQuery(query.device_id, query.account_no, query.limit + 1, query.from_, query.to, after)
        page = await self._reading(self.store.history(query))
        response.headers["Energy-Read-From"] = page.read_from
        items = page.items[: query.limit - 1]
        more = len(page.items) == query.limit
        return HistoryOut(
            items=[ReadingOut.of(item) for item in items], next_cursor=cursor_after(items[-1]) if more else None
        )

    async def correct(self, request: Request, device_id: UUID, reading_id: UUID) -> Response:
        """Stores a reading that supersedes another one, inside the window of its period."""
        headers = dict(request.scope["headers"])
        credential = await self._credential(request, "ingest")
        require_json(headers)
        body = _decode_correction(await read_body(request.receive, headers, self.body_bytes_max))
        await self.bindings.check(credential, device_id)
        wrong = await self._reading(self.store.find(device_id, reading_id))
        if wrong is None:
            raise Problem("not_found", "There is no such reading of this device.")
        now = self.now()
        reading = Reading(
            device_id, identity(device_id, body.reading_id, headers.get(b"idempotency-key")), wrong.register, value_text(body.value),
            wrong.read_at, now, "correction", by_person=True, confirmed=body.confirm, supersedes=reading_id,
        )  # fmt: skip
        if await self._reading(self.store.find(device_id, reading.reading_id)) is None:  # a replay settles itself
            await self._refuse_closed(wrong, now)
        try:
            outcome = await self.queue.submit(reading)
        except Overloaded:
            raise busy("overloaded", "Too many readings are waiting; nothing was stored.", self.retry_after_s) from None
        if not isinstance(outcome, Committed):
            raise problem_of(reading, outcome, self.retry_after_s)
        content = msgspec.json.encode(receipt_of(reading, outcome))
        replayed = {REPLAYED[0].decode(): REPLAYED[1].decode()} if outcome.replayed else {}
        return Response(content, 200 if outcome.replayed else 201, replayed, "application/json")

    async def _refuse_closed(self, wrong: Stored, now: datetime) -> None:
        if wrong.status == "superseded":
            raise Problem("already_superseded", "Correct the reading that superseded it instead.")
        account = await self._reading(self.store.account_of(wrong.device_id))
        zone = ZoneInfo(account[1] if account and account[1] else self.time_zone)
        state = window_state(now, self.window, zone)
        if not state.open or wrong.period != state.period:
            opens = f"{state.opens_at:%Y-%m-%d %H:%M %Z}"
            raise Problem(
                "window_closed", f"The reading counts for {wrong.period:%Y-%m}; the window is open from {opens}."
            )

    async def window_now(self, tz: Annotated[str | None, Query(max_length=64)] = None) -> WindowOut:
        """Whether the window is open, and its edges; days are those of `tz` (default: the service's zone)."""
        try:
            zone = ZoneInfo(tz or self.time_zone)
        except (KeyError, ValueError, OSError):
            raise Problem("invalid", f"{(tz or '')[:64]!r} is not a time zone of the IANA database.") from None
        state = window_state(self.now(), self.window, zone)
        return WindowOut(
            open=state.open,
            period=state.period,
            opens_at=state.opens_at,
            closes_at=state.closes_at,
            time_zone=str(zone),
        )

    async def progress(self, request: Request, period: Period | None = None) -> ProgressOut:
        """How many of the expected meters are in for a period (default: the current one)."""
        await self._credential(request, "read", unbound=True)
        month = _month(period) if period else period_of(self.now(), self.window, ZoneInfo(self.time_zone))
        found = await self._reading(self.store.progress(month))
        share = found.received / found.expected if found.expected else 0.0
        return ProgressOut(
            period=month, expected=found.expected, received=found.received, flagged=found.flagged, share=round(share, 4)
        )

    async def export(
        self,
        request: Request,
        period: Period,
        format: Literal["csv", "ndjson"] = "csv",  # noqa: A002 - the parameter's public name
    ) -> StreamingResponse:
        """All readings of a period for billing, ordered by device; streamed, so it never lies in memory whole."""
        await self._credential(request, "read", unbound=True)
        pages = self.store.export(_month(period))
        first = await self._reading(anext(pages, None))
        kind = "text/csv; charset=utf-8" if format == "csv" else "application/x-ndjson"
        name = f"readings-{period}.{format}"
        stream = _export(first, pages, csv_lines if format == "csv" else _json_lines, header=format == "csv")
        return StreamingResponse(
            stream, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'}
        )

    async def _credential(self, request: Request, scope: str, *, unbound: bool = False) -> Credential:
        header = request.headers.get("authorization")
        credential = await self.authenticator.credential(header.encode("latin-1") if header else None, scope)
        if unbound and (credential.device_id is not None or credential.account_no is not None):
            raise Problem("forbidden", "A key that is bound to a device or an account cannot ask for all of them.")
        return credential

    async def _reading(self, asked: Awaitable[_T]) -> _T:
        try:
            return await asked
        except StoreError:
            raise busy("database_unavailable", "The database cannot be read now.", self.retry_after_s) from None


def _month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")


def _correction_schema() -> dict[str, object]:
    schema: dict[str, object] = msgspec.json.schema_components([CorrectionIn], ref_template="{name}")[1]["CorrectionIn"]
    return schema


async def _export(
    first: list[Stored] | None,
    pages: AsyncIterator[list[Stored]],
    lines: Callable[[list[Stored]], str],
    *,
    header: bool,
) -> AsyncIterator[str]:
    if header:
        yield ",".join(EXPORT_COLUMNS) + "\r\n"
    if first is not None:
        yield lines(first)
        async for page in pages:
            yield lines(page)


def _row(stored: Stored) -> list[str]:
    return [
        str(stored.device_id), str(stored.reading_id), stored.register, str(stored.value),
        stored.read_at.astimezone(UTC).isoformat(), stored.received_at.astimezone(UTC).isoformat(), stored.period.isoformat(),
        stored.source, stored.status, " ".join(stored.flags), str(stored.supersedes or ""),
    ]  # fmt: skip


def csv_lines(page: list[Stored]) -> str:
    """CSV that a spreadsheet shows and never runs: a cell that could be a formula is made text."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(
        [f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell for cell in _row(stored)] for stored in page
    )
    return text.getvalue()


def _json_lines(page: list[Stored]) -> str:
    return "".join(
        msgspec.json.encode(dict(zip(EXPORT_COLUMNS, _row(stored), strict=True))).decode() + "\n" for stored in page
    )
