"""How a reading gets the id under which it can be repeated without being stored twice.

The client's own `reading_id` wins; an `Idempotency-Key` is turned into one, per device, so that the key and the reading
are one row and no second table can disagree with the first. Without either the reading gets a fresh id: at least once.
"""

from __future__ import annotations

from hashlib import sha1
from uuid import UUID

_NAMESPACE = UUID("5b1f0c52-7d64-5f0a-9d3c-6a5f6f9b7e11").bytes
# RFC 9562, version 5, with a binary name. `UUID(version=5)` makes the same id in four times the time.
_MARKED = 0xF000 << 64 | 0xC000 << 48
_VERSION_5 = 0x5000 << 64 | 0x8000 << 48


def reading_id_of(device_id: UUID, idempotency_key: bytes) -> UUID:
    """The id of what `idempotency_key` names for that device: the same for ever."""
    name = _NAMESPACE + device_id.bytes + idempotency_key
    digest = sha1(name, usedforsecurity=False).digest()
    return UUID(int=int.from_bytes(digest[:16], "big") & ~_MARKED | _VERSION_5)
