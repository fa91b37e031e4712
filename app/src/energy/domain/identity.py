"""How a reading gets the id under which it can be repeated without being stored twice.

The client's own `reading_id` wins; an `Idempotency-Key` is turned into one, per device, so that the key and the reading
are one row and no second table can disagree with the first. Without either the reading gets a fresh id: at least once.
"""

from __future__ import annotations

from uuid import UUID, uuid5

_NAMESPACE = UUID("5b1f0c52-7d64-5f0a-9d3c-6a5f6f9b7e11")


def reading_id_of(device_id: UUID, idempotency_key: str) -> UUID:
    """The id of what `idempotency_key` names for that device: the same for ever."""
    return uuid5(_NAMESPACE, f"{device_id}/{idempotency_key}")
