"""Who is asking, and what that key may do: bearer keys, cached, with a rate limit each.

The hot path makes no query: a key is looked up once per TTL. A revoked key works for at most that long. Secrets are
random and long, so one SHA-256 is enough to keep them; they appear in no log and no metric.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from cachetools import TTLCache

from energy.store.ports import ApiKey, KeyStore, StoreError
from energy.wire.problems import Problem, busy

SCOPES = frozenset({"ingest", "read", "admin"})
_CACHE_KEYS_MAX = 20_000
_LOOKUPS_MAX = 2
"""Keys looked up at once: a flood of invented keys must not take the connections that readings need."""
_CHALLENGE = [(b"www-authenticate", b'Bearer realm="energy"')]


@dataclass(slots=True)
class RateLimit:
    """The generic cell rate algorithm: one number per key instead of a bucket and its refill."""

    rate_per_s: float
    burst: int
    _free_at: float = field(default=0.0)

    def take(self, now: float) -> float:
        """0 when the request may pass, else the seconds until one may."""
        if self.rate_per_s <= 0:
            return 0.0
        due = max(self._free_at, now)
        wait_s = due - now - (self.burst - 1) / self.rate_per_s
        if wait_s > 0:
            return wait_s
        self._free_at = due + 1 / self.rate_per_s
        return 0.0


@dataclass(frozen=True, slots=True)
class Credential:
    """A key that has been checked."""

    key_id: str
    scopes: frozenset[str]
    device_id: UUID | None
    account_no: str | None
    expires_at: datetime | None
    rate: RateLimit

    def may(self, scope: str) -> bool:
        """Whether the key has `scope`; `admin` has them all."""
        return scope in self.scopes or "admin" in self.scopes

    def allow(self, scope: str) -> None:
        """Raises `Problem` unless the key has `scope`."""
        if not self.may(scope):
            raise Problem("forbidden", f"The key {self.key_id} has no scope `{scope}`.")


def new_key(
    scopes: frozenset[str], device_id: UUID | None, account_no: str | None, expires_at: datetime | None
) -> tuple[str, ApiKey]:
    """A fresh key: the token to hand over once, and what is stored of it."""
    return key_from_token(
        f"{secrets.token_hex(6)}.{secrets.token_urlsafe(32)}", scopes, device_id, account_no, expires_at
    )


def key_from_token(
    token: str, scopes: frozenset[str], device_id: UUID | None, account_no: str | None, expires_at: datetime | None
) -> tuple[str, ApiKey]:
    """The same for a token that exists. Raises ValueError when it is not `<id>.<secret>` with a secret of some length."""
    key_id, _, secret = token.partition(".")
    if not key_id or len(secret) < 16 or not token.isascii():  # noqa: PLR2004 - 96 bits as base64
        raise ValueError("a key is `<id>.<secret>` in ASCII, with at least 16 characters of secret")
    return token, ApiKey(key_id, _hash(secret), scopes, device_id, account_no, expires_at, None)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class Authenticator:
    """Turns an Authorization header into a credential. `keys=None` switches authentication off."""

    def __init__(
        self,
        keys: KeyStore | None,
        clock: Callable[[], float],
        ttl_s: float,
        rate_per_s: float,
        burst: int,
        retry_after_s: int,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._rate = (rate_per_s, burst)
        self._retry_after_s = retry_after_s
        self._known: TTLCache[bytes | None, Credential] = TTLCache(_CACHE_KEYS_MAX, ttl_s, timer=clock)
        self._unknown: TTLCache[bytes, bool] = TTLCache(_CACHE_KEYS_MAX, ttl_s, timer=clock)
        self._rates: TTLCache[str, RateLimit] = TTLCache(_CACHE_KEYS_MAX, 3600, timer=clock)
        self._lookups = asyncio.Semaphore(_LOOKUPS_MAX)
        self._anonymous = Credential("anonymous", frozenset({"admin"}), None, None, None, RateLimit(*self._rate))

    def known(self, header: bytes | None, scope: str) -> Credential | None:
        """As `credential`, without waiting; nothing when the key has to be looked up."""
        found = self._anonymous if self._keys is None else self._known.get(header) if header is not None else None
        return None if found is None else self._admit(found, scope)

    async def credential(self, header: bytes | None, scope: str) -> Credential:
        """The credential behind a request. Raises `Problem`: 401, 403, 429, or 503 when keys cannot be looked up."""
        known = self.known(header, scope)
        if known is not None:
            return known
        if header is None or self._keys is None:
            raise Problem("unauthenticated", "Send `Authorization: Bearer <id>.<secret>`.", _CHALLENGE)
        return self._admit(await self._look_up(self._keys, header), scope)

    def _admit(self, credential: Credential, scope: str) -> Credential:
        if credential.expires_at is not None and credential.expires_at <= datetime.now(UTC):
            raise Problem("unauthenticated", "The API key has expired.", _CHALLENGE)
        credential.allow(scope)
        wait_s = credential.rate.take(self._clock())
        if wait_s > 0:
            detail = f"The key may make {self._rate[0]:g} requests a second."
            raise Problem("rate_limited", detail, _told(*self._rate, wait_s))
        return credential

    async def _look_up(self, keys: KeyStore, header: bytes) -> Credential:
        kind, _, token = header.partition(b" ")
        key_id, _, secret = token.strip().partition(b".")
        if kind.lower() != b"bearer" or not key_id or not secret or not token.isascii() or header in self._unknown:
            raise _refused()
        try:
            async with self._lookups:
                key = await keys.key(key_id.decode("ascii").replace("\0", ""))
        except StoreError:
            raise busy(
                "database_unavailable", "The API key cannot be checked now; nothing was stored.", self._retry_after_s
            ) from None
        if (
            key is None
            or key.revoked_at is not None
            or not hmac.compare_digest(_hash(secret.decode("ascii")), key.secret_sha256)
        ):
            self._unknown[header] = True
            raise _refused()
        rate = self._rates.setdefault(key.key_id, RateLimit(*self._rate))
        credential = Credential(key.key_id, key.scopes, key.device_id, key.account_no, key.expires_at, rate)
        self._known[header] = credential
        return credential


def _told(rate_per_s: float, burst: int, wait_s: float) -> list[tuple[bytes, bytes]]:
    """When to come back, and what the limit is (RateLimit header fields of the IETF's httpapi working group)."""
    seconds = math.ceil(wait_s)
    return [
        (b"retry-after", b"%d" % seconds),
        (b"ratelimit", b'"key";r=0;t=%d' % seconds),
        (b"ratelimit-policy", b'"key";q=%d;w=%d' % (burst, math.ceil(burst / rate_per_s))),
    ]


def _refused() -> Problem:
    return Problem(
        "unauthenticated", "The API key is not known, not valid any more, or its secret is wrong.", _CHALLENGE
    )
