"""The documents that reading requests answer with; FastAPI turns them into the OpenAPI description."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, Field

from energy.domain.reading import Stored


class ReadingOut(BaseModel):
    """A stored reading."""

    device_id: UUID
    reading_id: UUID
    register_: str = Field(serialization_alias="register")
    value: Decimal
    read_at: datetime
    received_at: datetime
    period: date = Field(description="First day of the billing month the reading counts for.")
    source: str
    status: str = Field(description="accepted, flagged or superseded.")
    flags: list[str]
    supersedes: UUID | None

    @classmethod
    def of(cls, stored: Stored) -> ReadingOut:
        """The document of a stored reading."""
        return cls(
            device_id=stored.device_id, reading_id=stored.reading_id, register_=stored.register, value=stored.value,
            read_at=stored.read_at, received_at=stored.received_at, period=stored.period, source=stored.source,
            status=stored.status, flags=list(stored.flags), supersedes=stored.supersedes,
        )  # fmt: skip


class HistoryOut(BaseModel):
    """A page of history, newest first."""

    items: list[ReadingOut]
    next_cursor: str | None


class WindowOut(BaseModel):
    """The submission window that is open, else the next one."""

    open: bool
    period: date
    opens_at: datetime
    closes_at: datetime
    time_zone: str


class ProgressOut(BaseModel):
    """How many of the expected meters have sent a reading for the period."""

    period: date
    expected: int
    received: int
    flagged: int
    share: float


class ProblemOut(BaseModel):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    code: str
    detail: str
