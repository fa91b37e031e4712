"""What the rest of the service may ask of a store, and how a store says no.

It exists so that ingestion and HTTP can be read, and tested for faults, without a database. Knows no SQL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from energy.domain.reading import Outcome, Reading, Stored

ROWS_AT_A_TIME = 500
"""Rows of a long batch that are worked on in one step, and sent in one statement: sorting and encoding ten thousand at once takes
a tenth of a second, in which the event loop does nothing else."""


_T = TypeVar("_T")


def parts(batch: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """The batch in steps of `ROWS_AT_A_TIME`."""
    for at in range(0, len(batch), ROWS_AT_A_TIME):
        yield batch[at : at + ROWS_AT_A_TIME]


class StoreError(Exception):
    """The store could not do it now. `reason` is one of few words: a label of the metrics, and what log lines go by."""

    def __init__(self, message: str = "", reason: str = "other") -> None:
        super().__init__(message)
        self.reason = reason


class Unavailable(StoreError):
    """The database was not reached, or refused and undid the whole: it is certainly not stored by this attempt."""


class Interrupted(StoreError):
    """The request reached the database and its outcome did not come back, or was asked to be tried again.

    Trying the same rows again is safe: each has its id.
    """


class Poisoned(StoreError):
    """The database refuses the batch because of what is in one of its rows. Nothing of it is stored."""


class NotAll(Exception):
    """An atomic batch had a row that could not be stored, so nothing of it is; `outcomes` say what each would have got."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__("not every row could be stored")
        self.outcomes = outcomes


class BatchStore(Protocol):
    """All that the ingest queue needs."""

    async def append(self, batch: Sequence[Reading], timeout_s: float) -> list[Outcome]:
        """Stores the batch in one transaction and returns after COMMIT: one outcome per reading, in the same order.

        Ids inside one batch must differ. A row that is already there is answered as a replay or a conflict.
        Raises `Unavailable`, `Interrupted` or `Poisoned`; never stores a part.
        """


class Place(NamedTuple):
    """Where a reading is among those of its meter. Without register and time the store looks it up by its id."""

    device_id: UUID
    reading_id: UUID
    register: str = ""
    read_at: datetime | None = None


class RejudgeStore(Protocol):
    """All that judging again needs."""

    async def rejudge(self, places: Sequence[Place]) -> int:
        """Corrects the flags of what is stored at those places and right after them.

        Returns how many it changed. Raises `StoreError`.
        """


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """A page of history, newest first: of one device or of one account, `from_` inclusive, `to` exclusive."""

    device_id: UUID | None
    account_no: str | None
    limit: int
    from_: datetime | None = None
    to: datetime | None = None
    after: tuple[datetime, UUID, UUID] | None = None
    """Resume behind this reading: its time, device and id, from a cursor."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """What was found, and where it was read: `primary`, `replica` or `follower`."""

    items: list[Stored]
    read_from: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of the expected meters have sent at least one reading for a period, as of `counted_at`."""

    period: date
    expected: int
    received: int
    flagged: int
    counted_at: datetime


class HistoryStore(Protocol):
    """All that the reading side needs."""

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """One page. Raises `Unavailable`."""

    async def find(self, device_id: UUID, reading_id: UUID) -> Stored | None:
        """One reading, from the primary. Raises `Unavailable`."""

    async def account_of(self, device_id: UUID) -> tuple[str, str | None] | None:
        """The account that a device belongs to and its time zone, if they are known. Raises `Unavailable`."""

    async def progress(self, period: date) -> Progress:
        """How far a period has come, counted now or, where that takes long, a minute or two ago. Raises `StoreError`."""

    def export(self, period: date) -> AsyncIterator[list[Stored]]:
        """All readings of a period in pages, ordered by device. Raises `Unavailable`."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A credential as the database has it; the secret only as its SHA-256."""

    key_id: str
    secret_sha256: bytes
    scopes: frozenset[str]
    device_id: UUID | None
    account_no: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    source: str | None = None
    """What its readings come from; without one the client says it."""


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Whose a device is, and since when; None: always."""

    account_no: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class KeyListing:
    """What may be shown of a key."""

    key_id: str
    scopes: str
    device_id: UUID | None
    account_no: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    note: str
    source: str | None
    last_used_at: datetime | None


class KeyAdmin(Protocol):
    """What those who hand keys out need. Raises `StoreError`."""

    async def create(self, keys: Sequence[tuple[ApiKey, str]]) -> int:
        """Stores keys with their notes, and returns how many ids were new."""

    async def page(self, after: str, limit: int) -> list[KeyListing]:
        """Keys in the order of their ids, behind `after`."""

    async def revoke(self, key_id: str) -> bool:
        """Ends a key; false when there is none that is still valid."""

    async def mark_used(self, key_ids: Sequence[str]) -> None:
        """These were in use just now."""


class KeyStore(Protocol):
    """All that authentication needs, for many at once. Both raise `StoreError` within about `timeout_s`."""

    async def keys(self, key_ids: Sequence[str], timeout_s: float) -> dict[str, ApiKey]:
        """The keys of those ids, as far as there are any."""

    async def accounts(self, device_ids: Sequence[UUID], timeout_s: float) -> dict[UUID, Tenancy]:
        """The accounts of those devices, as far as they are known."""
