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
        return json(ProgressOut(month_text(month), found.expected, found.received, found.flagged, round(share, 4)))

    async def export(self, request: Request) -> Response:
        """All readings of a period, ordered by device; streamed, so it never lies in memory whole."""
        await self.access.to_everything(request, "read")
        asked = parameters(request, ExportParameters)
        pages = self.store.export(_month(asked.period))
        first = await anext(pages, None)  # what the database refuses is refused before the answer begins
        of_csv = asked.format == "csv"
        return StreamingResponse(
            _lines(first, pages, csv_lines if of_csv else json_lines, HEADER_OUT if of_csv else ""),
            media_type="text/csv; charset=utf-8" if of_csv else "application/x-ndjson",
            headers={"content-disposition": f'attachment; filename="readings-{asked.period}.{asked.format}"'},
        )


def _month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")


async def _lines(
    first: list[Stored] | None,
    pages: AsyncIterator[list[Stored]],
    lines: Callable[[Sequence[Stored]], str],
    header: str,
) -> AsyncIterator[str]:
    if header:
        yield header
    if first is not None:
        yield lines(first)
        async for page in pages:
            yield lines(page)
