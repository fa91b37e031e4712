"""Cursors of history: where a page ended, as text that a client hands back and need not understand."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec

from energy.domain.reading import Stored
from energy.wire.problems import Problem


class _Place(msgspec.Struct, array_like=True):
    read_at: Annotated[datetime, msgspec.Meta(tz=True)]
    device_id: UUID
    reading_id: UUID


def cursor_after(stored: Stored) -> str:
    """The cursor that resumes behind `stored`."""
    place = _Place(stored.read_at, stored.device_id, stored.reading_id)
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(cursor: str) -> tuple[datetime, UUID, UUID]:
    """Where a cursor points. Raises `Problem` for anything that was not made by `cursor_after`."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        place = msgspec.json.decode(raw, type=_Place)
        return place.read_at.astimezone(UTC), place.device_id, place.reading_id
    except (binascii.Error, ValueError, OverflowError):
        raise Problem("bad_cursor", "Use `next_cursor` of the page before, unchanged.") from None
