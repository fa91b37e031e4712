"""Keys that are bound to one device or one account: whether such a key may speak for a device.

An account's devices are looked up once per TTL; keys without a binding never come here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from uuid import UUID

from cachetools import TTLCache

from energy.http.auth import Credential
from energy.store.ports import HistoryStore, StoreError
from energy.wire.problems import Problem, busy

_DEVICES_MAX = 100_000


class Bindings:
    """Checks bound keys against the devices of their account."""

    def __init__(self, store: HistoryStore, clock: Callable[[], float], ttl_s: float, retry_after_s: int) -> None:
        self._store = store
        self._retry_after_s = retry_after_s
        self._accounts: TTLCache[UUID, str | None] = TTLCache(_DEVICES_MAX, ttl_s, timer=clock)

    async def check(self, credential: Credential, device_id: UUID) -> None:
        """Raises `Problem` (403, or 503 when it cannot be found out) unless the key may speak for the device."""
        if credential.device_id is not None and credential.device_id != device_id:
            raise Problem("forbidden", f"The key {credential.key_id} is bound to another device.")
        if credential.account_no is not None and credential.account_no != await self._account_of(device_id):
            raise Problem("forbidden", f"The key {credential.key_id} is bound to another account.")

    async def refusals(self, credential: Credential, device_ids: Collection[UUID]) -> dict[UUID, Problem]:
        """The devices that the key may not speak for. Raises `Problem` (503) when that cannot be found out for all."""
        refused: dict[UUID, Problem] = {}
        for device_id in device_ids:
            try:
                await self.check(credential, device_id)
            except Problem as problem:
                if problem.code != "forbidden":
                    raise
                refused[device_id] = problem
        return refused

    def check_account(self, credential: Credential, account_no: str) -> None:
        """The same for a request about a whole account."""
        if credential.device_id is not None or credential.account_no not in (None, account_no):
            raise Problem("forbidden", f"The key {credential.key_id} is not for this account.")

    async def _account_of(self, device_id: UUID) -> str | None:
        if device_id not in self._accounts:
            try:
                found = await self._store.account_of(device_id)
            except StoreError:
                raise busy(
                    "database_unavailable", "The device's account cannot be looked up now.", self._retry_after_s
                ) from None
            self._accounts[device_id] = found[0] if found else None
        return self._accounts[device_id]
