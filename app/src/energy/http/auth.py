"""Who is asking, and what that key may do: bearer keys, looked up once per TTL, with a rate limit each.

The hot path makes no query, and proves a header that was proved before by finding its digest. A revoked key works for at
most the TTL, longer only while the database is away. Secrets are random and long, so one SHA-256 is enough to keep them;
nothing else of a token is kept here, in a log or in a metric.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from energy import metrics
from energy.ingest.lookup import Lookup, LookupLimits
from energy.store.ports import ApiKey, KeyStore, StoreError
from energy.wire.problems import Problem

SCOPES = frozenset({"ingest", "read", "admin"})
TOKEN_BYTES_MAX = 128
"""Ours have 56. Longer ones are refused unread."""
SOURCES = ("meter", "person", "head_end")
"""What a key may be for; without one, its client says which."""
_ANONYMOUS = "anonymous"
_OWN_PATHS = frozenset({"import", "correction"})
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
    """A key that has been checked. `scopes`: all that it may do."""

    key_id: str
    scopes: frozenset[str]
    device_id: UUID | None
    account_no: str | None
    expires_at: datetime | None
    rate: RateLimit
    source: str | None
    sender: str
    """The key's id as readings keep it; empty while keys are off."""

    def claimed(self, source: str | None) -> str:
        """Where a reading comes from. Raises `Problem` when the client says what its key may not."""
        if source in _OWN_PATHS:
            raise Problem("forbidden", f"`{source}` is not the source of a reading that a client sends.")
        if self.source is not None and source not in (None, self.source):
            raise Problem("forbidden", f"The key {self.key_id} sends readings of source `{self.source}` only.")
        return self.source or source or "meter"

    def may(self, scope: str) -> bool:
        """Whether the key has `scope`."""
        return scope in self.scopes

    def allow(self, scope: str) -> None:
        """Raises `Problem` unless the key has `scope`."""
        if not self.may(scope):
            raise Problem("forbidden", f"The key {self.key_id} has no scope `{scope}`.")


def new_key(
    scopes: frozenset[str],
    device_id: UUID | None,
    account_no: str | None,
    expires_at: datetime | None,
    source: str | None = None,
) -> tuple[str, ApiKey]:
    """A fresh key: the token to hand over once, and what is stored of it."""
    return key_from_token(
        f"{secrets.token_hex(6)}.{secrets.token_urlsafe(32)}", scopes, device_id, account_no, expires_at, source
    )


def key_from_token(
    token: str,
    scopes: frozenset[str],
    device_id: UUID | None,
    account_no: str | None,
    expires_at: datetime | None,
    source: str | None = None,
) -> tuple[str, ApiKey]:
    """The same for a token that exists. Raises ValueError when it is not `<id>.<secret>` with a secret of some length."""
    key_id, _, secret = token.partition(".")
    if not key_id or len(secret) < 16 or not token.isascii() or len(token) > TOKEN_BYTES_MAX:  # noqa: PLR2004 - 96 bits as base64
        raise ValueError(
            f"a key is `<id>.<secret>` in ASCII, at least 16 characters of secret and {TOKEN_BYTES_MAX} in all"
        )
    return token, ApiKey(key_id, _hash(secret), scopes, device_id, account_no, expires_at, None, source)


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


@dataclass(frozen=True, slots=True)
class _Holder:
    """What is remembered of a key between two look-ups. The rate outlives them."""

    secret_sha256: bytes
    revoked: bool
    credential: Credential
    fresh_until: float


class Authenticator:
    """Turns an Authorization header into a credential. `keys=None` switches authentication off."""

    def __init__(
        self,
        keys: KeyStore | None,
        clock: Callable[[], float],
        limits: LookupLimits,
        rate_per_s: float,
        burst: int,
        used: Callable[[str], None],
    ) -> None:
        self._used = used
        self._keys = keys
        self._clock = clock
        self._rate = (rate_per_s, burst)
        self._limits = limits
        self._holders: Lookup[str, _Holder] = Lookup("keys", self._ask, limits, clock)
        self._proved: OrderedDict[bytes, _Holder] = OrderedDict()
        self._anonymous = Credential(_ANONYMOUS, SCOPES, None, None, None, RateLimit(*self._rate), None, "")

    def known(self, header: bytes | None, scope: str) -> Credential | None:
        """As `credential`, of a key whose header was proved since its last look-up; nothing for any other."""
        if self._keys is None:
            credential = self._anonymous
        else:
            holder = self._proved.get(sha256(header or b"").digest())
            if holder is None or holder.fresh_until <= self._clock():
                return None
            credential = holder.credential
        if self._rate[0] or credential.expires_at is not None or scope not in credential.scopes:
            self._admit(credential, scope)
        return credential

    async def credential(self, header: bytes | None, scope: str) -> Credential:
        """The credential behind a request. Raises `Problem`: 401, 403, 429, or 503 when keys cannot be looked up."""
        known = self.known(header, scope)
        if known is not None:
            return known
        key_id, secret = _parts_of(header)
        try:
            holder = (await self._holders.get([key_id])).get(key_id)
        except StoreError:
            raise Problem("database_unavailable", "The API key cannot be checked now; nothing was stored.") from None
        if holder is None or holder.revoked or not hmac.compare_digest(_hash(secret), holder.secret_sha256):
            raise _refused()
        if header is not None and header.count(b" ") == 1:  # one spelling of a key, or a client could fill the memory
            self._proved[sha256(header).digest()] = holder
            if len(self._proved) > self._limits.known_max:
                self._proved.popitem(last=False)
        self._admit(holder.credential, scope)
        self._used(key_id)
        return holder.credential

    def _admit(self, credential: Credential, scope: str) -> None:
        if credential.expires_at is not None and credential.expires_at <= datetime.now(UTC):
            raise Problem("unauthenticated", "The API key has expired.", _CHALLENGE)
        credential.allow(scope)
        wait_s = credential.rate.take(self._clock())
        if wait_s > 0:
            metrics.SHED.labels("rate").inc()
            detail = f"The key may make {self._rate[0]:g} requests a second."
            raise Problem("rate_limited", detail, _told(*self._rate, wait_s))

    async def _ask(self, key_ids: Sequence[str], timeout_s: float) -> dict[str, _Holder]:
        assert self._keys is not None  # noqa: S101 - without keys nobody is looked up
        found = await self._keys.keys(key_ids, timeout_s)
        return {key_id: self._holder_of(key) for key_id, key in found.items()}

    def _holder_of(self, key: ApiKey) -> _Holder:
        before = self._holders.remembered(key.key_id)
        rate = RateLimit(*self._rate) if before is None else before.credential.rate
        scopes = SCOPES if "admin" in key.scopes else key.scopes
        credential = Credential(
            key.key_id, scopes, key.device_id, key.account_no, key.expires_at, rate, key.source, sender=key.key_id
        )
        fresh_until = self._clock() + self._limits.ttl_s
        return _Holder(key.secret_sha256, key.revoked_at is not None, credential, fresh_until)


def _parts_of(header: bytes | None) -> tuple[str, str]:
    """The key's id and secret. Raises `Problem`."""
    if header is None:
        raise Problem("unauthenticated", "Send `Authorization: Bearer <id>.<secret>`.", _CHALLENGE)
    kind, _, token = header.partition(b" ")
    token = token.strip()
    key_id, _, secret = token.partition(b".")
    if kind.lower() != b"bearer" or not key_id or not secret or len(token) > TOKEN_BYTES_MAX or not token.isascii():
        raise _refused()
    return key_id.decode("ascii").replace("\0", ""), secret.decode("ascii")


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
