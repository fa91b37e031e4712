"""Taking BillingWindows away without leaving anything behind: deleted, and every target given back.

What a chart's hooks run before the operator or its window goes. The operator may be running or long gone; both of them
doing this is harmless.
"""

import asyncio
import time
from collections.abc import Sequence

from prescaler.clock import Clock
from prescaler.kube.client import WINDOWS, Kube, KubeError
from prescaler.loop import Loop

POLL_S = 0.5


async def release_all(
    kube: Kube, clock: Clock, namespaces: Sequence[str], timeout_s: float, names: Sequence[str] = ()
) -> int:
    """How many there were; `names`: only these. Raises KubeError when they are not gone in time."""
    deadline = time.monotonic() + timeout_s
    loop = Loop(kube, clock, namespaces=namespaces, only_leaving=True)
    seen: set[tuple[str, str]] = set()
    try:
        while True:
            try:
                found = [w for scope in namespaces or (None,) for w in await kube.list(WINDOWS, scope)]
                left = [w for w in found if not names or w.metadata.name in names]
                if not left:
                    return len(seen)
                seen |= {w.key for w in left}
                for window in left:
                    if window.metadata.deletion_timestamp is None:
                        await kube.delete(WINDOWS, window.metadata)
                await loop.tick()
                failure = KubeError(0, f"{len(left)} BillingWindows are still there after {timeout_s:.0f} s")
            except KubeError as error:
                if error.status == 404:  # noqa: PLR2004 - the kind itself is gone, and every object with it
                    return len(seen)
                failure = error
            if time.monotonic() > deadline:
                raise failure
            await asyncio.sleep(POLL_S)
    finally:
        await kube.close()
