"""What authentication remembers is bounded in bytes, whatever tokens arrive."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import Sequence
from uuid import UUID

import pytest

from energy.http.auth import TOKEN_BYTES_MAX, Authenticator, key_from_token
from energy.ingest.lookup import LookupLimits
from energy.store.ports import ApiKey, Tenancy
from energy.wire.problems import Problem

REMEMBERED_MAX = 500
LIMITS = LookupLimits(ttl_s=30, timeout_s=1, known_max=REMEMBERED_MAX, absent_max=REMEMBERED_MAX)
SECRET = "s" * 32
GREETING = b"Bearer "


class Keys:
    """A `KeyStore` that has the keys whose ids begin with `known`."""

    async def keys(self, key_ids: Sequence[str], _timeout_s: float) -> dict[str, ApiKey]:
        known = [key_id for key_id in key_ids if key_id.startswith("known")]
        return {
            key_id: key_from_token(f"{key_id}.{SECRET}", frozenset({"ingest"}), None, None, None)[1] for key_id in known
        }

    async def accounts(self, _device_ids: Sequence[UUID], _timeout_s: float) -> dict[UUID, Tenancy]:
        return {}


def longest(word: str, number: int) -> bytes:
    """A token as long as one may be."""
    key_id = f"{word}{number:0{TOKEN_BYTES_MAX - len(word) - 1 - len(SECRET)}}"
    return GREETING + f"{key_id}.{SECRET}".encode()


def huge(number: int) -> bytes:
    return GREETING + b"%d.%s" % (number, b"a" * 15_000)


def padded(number: int) -> bytes:
    """One and the same key each time, with other blanks before it."""
    return GREETING + b" " * number + b"known.%s" % SECRET.encode()


@pytest.mark.parametrize(
    ("headers", "bytes_max"),
    [
        pytest.param([huge(n) for n in range(2_000)], 100_000, id="new tokens of 15 KB"),
        pytest.param(
            [longest("absent", n) for n in range(2_000)], REMEMBERED_MAX * 500, id="new tokens of the right form"
        ),
        pytest.param([padded(n) for n in range(2_000)], 100_000, id="one key with other blanks each time"),
        pytest.param([longest("known", n) for n in range(2_000)], REMEMBERED_MAX * 1_500, id="keys that exist"),
    ],
)
def test_a_client_cannot_make_the_process_grow_by_inventing_tokens(headers: Sequence[bytes], bytes_max: int) -> None:
    async def grown() -> int:
        authenticator = Authenticator(Keys(), lambda: 0.0, LIMITS, 0, 1, lambda _key_id: None)
        with contextlib.suppress(Problem):
            await authenticator.credential(padded(0), "ingest")
        gc.collect()
        tracemalloc.start()
        for header in headers:
            with contextlib.suppress(Problem):
                await authenticator.credential(header, "ingest")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    try:
        kept = asyncio.run(grown())
    finally:
        tracemalloc.stop()
    assert kept < bytes_max, kept
