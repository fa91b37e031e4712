"""Taking the operator away without leaving anything behind: every object deleted, every HPA given back.

What a chart's pre-delete hook runs. The operator may be running or long gone; both of them doing this is harmless.
"""

import asyncio
import time
from collections.abc import Sequence

from prescaler.clock import Clock
from prescaler.kube import WINDOWS, Kube, KubeError
from prescaler.loop import Loop

POLL_S = 0.5


async def release_all(kube: Kube, clock: Clock, namespaces: Sequence[str], timeout_s: float) -> int:
    """How many there were. Raises KubeError when they are not gone in time."""
    deadline = time.monotonic() + timeout_s
    loop = Loop(kube, clock, namespaces=namespaces)
    seen: set[tuple[str, str]] = set()
    try:
        while True:
            try:
                left = [w for scope in namespaces or (None,) for w in await kube.list(WINDOWS, scope)]
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
