"""How a reading gets the id under which it can be repeated without being stored twice.

The client's own `reading_id` wins; an `Idempotency-Key` is turned into one, per device, so that the key and the reading
are one row and no second table can disagree with the first. Without either the reading gets a fresh id: at least once.
"""

from __future__ import annotations

from hashlib import sha1
from uuid import UUID

_NAMESPACE = UUID("5b1f0c52-7d64-5f0a-9d3c-6a5f6f9b7e11")


def reading_id_of(device_id: UUID, idempotency_key: str) -> UUID:
    """The id of what `idempotency_key` names for that device: the same for ever."""
    name = device_id.bytes + idempotency_key.encode()
    digest = sha1(_NAMESPACE.bytes + name, usedforsecurity=False).digest()  # RFC 9562, version 5, with a binary name
    return UUID(bytes=digest[:16], version=5)
