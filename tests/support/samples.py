"""Readings and meters to send."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from support.postgres import execute

NOW = datetime.now(UTC).replace(microsecond=0)
"""The day the tests run on: the service has no other clock. Tests that need an open window open it all month."""


def reading(device: UUID | None = None, value: object = "10432.5", **more: object) -> dict[str, Any]:
    """The body of POST /v1/readings."""
    return {"device_id": str(device or uuid4()), "value": value, **more}


def at(hours: float) -> str:
    """So many hours from now, as clients write it."""
    return (NOW + timedelta(hours=hours)).isoformat()


def add_meter(dsn: str, device: UUID, account: str, *, zone: str = "Europe/Samara", digits: int = 6) -> None:
    """Makes a device known."""
    execute(dsn, "INSERT INTO accounts (account_no, time_zone) VALUES ($1, $2) ON CONFLICT DO NOTHING", account, zone)
    execute(dsn, "INSERT INTO meters (device_id, account_no, digits) VALUES ($1, $2, $3)", device, account, digits)
