"""What the supplier asks about whole periods: the window, how far a period has come, and the export for billing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from energy.domain.reading import Stored
from energy.domain.window import SubmissionWindow, period_of, window_state
from energy.http.queries import Access, json, parameters
from energy.http.shares import Busy, Shares
from energy.store.ports import HistoryStore
from energy.wire.answers import ProgressOut, WindowOut, month_text
from energy.wire.problems import Problem
from energy.wire.tables import HEADER_OUT, csv_lines, json_lines

Period = Annotated[str, Meta(pattern=r"^20\d\d-(0[1-9]|1[0-2])$", description="A month, such as 2026-11.")]


class WindowParameters(msgspec.Struct):
    """Whose days."""

    tz: Annotated[str, Meta(max_length=64, description="Zone of the IANA database; default: the service's.")] | None = (
        None
    )


class ProgressParameters(msgspec.Struct):
    """Which month; default: the current one."""

    period: Period | None = None


class ExportParameters(msgspec.Struct):
    """Which month, and how it is written."""

    period: Period
    format: Literal["csv", "ndjson"] = "csv"


@dataclass(frozen=True, slots=True)
class Billing:
    """Questions about whole periods."""

    store: HistoryStore
    access: Access
    exports: Shares  # each holds a connection for as long as its client takes to read it
    window: SubmissionWindow
    time_zone: str
    now: Callable[[], datetime]

    async def window_now(self, request: Request) -> Response:
        """Whether the window is open, and its edges."""
        tz = parameters(request, WindowParameters).tz
        try:
            zone = ZoneInfo(tz or self.time_zone)
        except (KeyError, ValueError, OSError):
            raise Problem("invalid", f"{(tz or '')[:64]!r} is not a time zone of the IANA database.") from None
        state = window_state(self.now(), self.window, zone)
        return json(WindowOut(state.open, month_text(state.period), state.opens_at, state.closes_at, str(zone)))

    async def progress(self, request: Request) -> Response:
        """How many of the expected meters are in for a period."""
        await self.access.to_everything(request, "read")
        period = parameters(request, ProgressParameters).period
        month = _month(period) if period else period_of(self.now(), self.window, ZoneInfo(self.time_zone))
        found = await self.store.progress(month)
        share = found.received / found.expected if found.expected else 0.0
        return json(
            ProgressOut(
                month_text(month), found.expected, found.received, found.flagged, round(share, 4), found.counted_at
            )
        )

    async def export(self, request: Request) -> Response:
        """All readings of a period, ordered by device; streamed, so it never lies in memory whole."""
        credential = await self.access.to_everything(request, "read")
        asked = parameters(request, ExportParameters)
        of_csv = asked.format == "csv"
        lines = self._lines(credential.key_id, _month(asked.period), csv_lines if of_csv else json_lines)
        try:
            first = await anext(lines)  # what is refused is refused before the answer begins
        except Busy:
            raise Problem("overloaded", "Too many exports are being read. Ask again later.") from None
        return StreamingResponse(
            _chained((HEADER_OUT if of_csv else "") + first, lines),
            media_type="text/csv; charset=utf-8" if of_csv else "application/x-ndjson",
            headers={"content-disposition": f'attachment; filename="readings-{asked.period}.{asked.format}"'},
        )

    async def _lines(self, key_id: str, month: date, write: Callable[[Sequence[Stored]], str]) -> AsyncIterator[str]:
        """All pages as text, the first one also when it is empty. Raises `Busy`."""
        with self.exports.of(key_id) as take:
            take(1)
            pages = self.store.export(month)
            yield write(await anext(pages, []))
            async for page in pages:
                yield write(page)


def _month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")


async def _chained(first: str, others: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for text in others:
        yield text
