"""Keys that are bound to one device or one account: whether such a key may speak for a device.

The devices of a whole batch are looked up together, and each once per TTL; keys without a binding never come here.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from energy.http.auth import Credential
from energy.ingest.lookup import Lookup
from energy.store.ports import StoreError, Tenancy
from energy.wire.bodies import EARLIEST
from energy.wire.problems import Problem


class Bindings:
    """Checks bound keys against the devices of their account."""

    def __init__(self, accounts: Lookup[UUID, Tenancy]) -> None:
        self._accounts = accounts

    async def check(self, credential: Credential, device_id: UUID) -> None:
        """Raises `Problem` (403, or 503 when it cannot be found out) unless the key may speak for the device."""
        for problem in (await self.refusals(credential, [device_id])).values():
            raise problem

    async def refusals(self, credential: Credential, device_ids: Collection[UUID]) -> dict[UUID, Problem]:
        """The devices that the key may not speak for. Raises `Problem` (503) when that cannot be found out for all."""
        if credential.device_id is not None:
            others = [device_id for device_id in device_ids if device_id != credential.device_id]
            refused = dict.fromkeys(others, _bound_to(credential, "device"))
            device_ids = [device_id for device_id in device_ids if device_id == credential.device_id]
        else:
            refused = {}
        if credential.account_no is None or not device_ids:
            return refused
        try:
            found = await self._accounts.get(device_ids)
        except StoreError:
            raise Problem("database_unavailable", "The devices' accounts cannot be looked up now.") from None
        own = {device_id for device_id, tenancy in found.items() if tenancy.account_no == credential.account_no}
        foreign = [device_id for device_id in device_ids if device_id not in own]
        return refused | dict.fromkeys(foreign, _bound_to(credential, "account"))

    async def sees_from(self, credential: Credential, device_id: UUID) -> datetime | None:
        """From when on the key sees readings of a device it may speak for; None: it sees none. Raises `Problem` (503).

        A tenant sees the time in which the meter is the tenant's own.
        """
        if not credential.may("read"):
            return None
        if credential.account_no is None:
            return EARLIEST
        try:
            tenancy = (await self._accounts.get([device_id])).get(device_id)
        except StoreError:
            raise Problem("database_unavailable", "The device's account cannot be looked up now.") from None
        return None if tenancy is None else tenancy.since or EARLIEST

    def check_account(self, credential: Credential, account_no: str) -> None:
        """The same for a request about a whole account."""
        if credential.device_id is not None or credential.account_no not in (None, account_no):
            raise Problem("forbidden", f"The key {credential.key_id} is not for this account.")


def _bound_to(credential: Credential, what: str) -> Problem:
    return Problem("forbidden", f"The key {credential.key_id} is bound to another {what}.")
