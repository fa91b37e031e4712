"""How late the event loop is: what one request's work costs all the others.

A timer that should fire every fiftieth of a second is the probe: whoever holds the loop makes it late by that much.
"""

from __future__ import annotations

import asyncio

from energy import metrics

_EVERY_S = 0.02


async def measure() -> None:
    """Observes until it is cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        metrics.LOOP_LAG_SECONDS.observe(max(clock() - due, 0.0))
