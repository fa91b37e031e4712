"""Every ten seconds, or as soon as something calls for it: bring every BillingWindow to where it belongs.

One loop over fresh lists instead of a timer per object: whatever was missed, whoever interfered and however long the
operator was down, one pass converges, and the cost is a few list requests. An object that fails doesn't stop the
others; an API server that doesn't answer ends the pass, and the next one starts over.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from prescaler import metrics
from prescaler.clock import Clock
from prescaler.declared import Declarations, Declared
from prescaler.kube import WINDOWS, Kube, KubeError
from prescaler.lease import LeaderLease
from prescaler.objects import BillingWindow
from prescaler.reconcile import LeadershipLostError, Reconciler
from prescaler.snapshot import Room, Snapshot
from prescaler.spec import InvalidSpecError, Mode

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
SPACING_MIN_S = 1.0  # however many wake-ups arrive, and before a failed object is tried again
CONCURRENCY_MAX = 20
STALLED_AFTER_S = 90.0  # longer than a pass in which every request runs into its deadline

T = TypeVar("T")
R = TypeVar("R")
Found = tuple[BillingWindow, Declared | None]


class Loop:
    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        namespaces: Sequence[str] = (),
        lease: LeaderLease | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `namespaces` it is the whole cluster; without a `lease` this replica always acts."""
        self._kube, self._clock, self._lease = kube, clock, lease
        self._namespaces: list[str | None] = list(namespaces) or [None]
        self._monotonic = monotonic
        self._declarations = Declarations(kube, clock)
        self._room = Room(kube)
        self._reconciler = Reconciler(kube, clock, may_write=lambda: lease is None or lease.held())
        self._wake = asyncio.Event()
        self._stopping = False
        self._known: set[tuple[str, str]] = set()
        self._turned_at = monotonic()
        self.turned = asyncio.Event()  # after the first turn

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def stalled_for_s(self) -> float | None:
        """How long the loop has been stuck; None while it turns. A failing API server is not a stalled loop."""
        idle_s = self._monotonic() - self._turned_at
        return idle_s if idle_s > STALLED_AFTER_S else None

    async def run(self) -> None:
        while not self._stopping:
            pause_s = await self._turn()
            self._turned_at = self._monotonic()
            self.turned.set()
            try:
                await asyncio.wait_for(self._wake.wait(), pause_s)
            except TimeoutError:
                continue
            self._wake.clear()
            if not self._stopping:
                await asyncio.sleep(SPACING_MIN_S)  # wake-ups come in bursts
        if self._lease is not None:
            await self._lease.release()

    async def _turn(self) -> float:
        """One pass if this replica leads. Returns for how long nothing is due."""
        try:
            leading = self._lease is None or await self._lease.acquire()
            metrics.LEADER.set(leading)
            return await self.tick() if leading else INTERVAL_S
        except KubeError as error:
            log.warning("the API server doesn't let this pass finish, trying again: %s", error)
            metrics.TICKS.labels("failed").inc()
            return max(SPACING_MIN_S, error.retry_after_s or 0)
        except LeadershipLostError:
            log.warning("another replica has taken the lead")
            metrics.LEADER.set(0)
            return SPACING_MIN_S

    async def tick(self) -> float:
        """Look at everything once. Raises KubeError when the API server doesn't answer."""
        began = time.perf_counter()
        metrics.CLOCK_OFFSET.set(self._clock.offset.total_seconds())
        windows = [window for scope in self._namespaces for window in await self._kube.list(WINDOWS, scope)]
        snapshot = Snapshot(self._kube, windows, self._room, clusterwide=self._namespaces == [None])
        await snapshot.read()
        found = [each for each in await _in_turns(self._understand, windows) if each is not None]
        owners = _owners(found)

        async def look(each: Found) -> bool:
            return await self._look(each, snapshot, owners)

        outcomes = await _in_turns(look, found)
        self._forget(windows)
        metrics.WINDOWS.set(len(windows))
        metrics.TICKS.labels("done").inc()
        metrics.TICK_SECONDS.observe(time.perf_counter() - began)
        metrics.LAST_TICK.set_to_current_time()
        return self._pause_s([d.plan.changes_at for _, d in found if d], done=all(outcomes))

    async def _understand(self, window: BillingWindow) -> Found | None:
        try:
            return window, await self._declarations.of(window)
        except InvalidSpecError as error:
            done = await self._guarded(window, self._reconciler.invalid(window, error))
            return (window, None) if done else None

    async def _look(self, found: Found, snapshot: Snapshot, owners: dict[tuple[str, str], tuple[str, str]]) -> bool:
        window, declared = found
        if declared is None:
            return True
        target = (window.metadata.namespace, declared.spec.target_ref.name)
        owner = owners.get(target)
        if window.metadata.deletion_timestamp is not None:
            hpa = snapshot.hpas.get(target) if owner is None else None  # with an heir there is nothing to restore
            return await self._guarded(window, self._reconciler.release(window, declared, hpa))
        rival = owner[1] if owner not in {None, window.key} and declared.spec.mode is Mode.ACTIVE else None
        return await self._guarded(window, self._reconciler.reconcile(window, declared, snapshot, rival))

    async def _guarded(self, window: BillingWindow, work: Coroutine[None, None, None]) -> bool:
        """Whether it could be finished. An API server that is away is everybody's problem, not this object's."""
        try:
            await work
        except KubeError as error:
            if error.status == 0:
                raise
            log.warning("%s/%s: trying again: %s", *window.key, error)
            metrics.ERRORS.labels(str(error.status)).inc()
            return False
        except LeadershipLostError:
            raise
        except Exception:  # a mistake of ours that one object brings out must not cost the others their capacity
            log.exception("%s/%s: could not be looked at", *window.key)
            metrics.ERRORS.labels("bug").inc()
            return False
        return True

    def _forget(self, windows: Sequence[BillingWindow]) -> None:
        self._declarations.forget_all_but({w.metadata.uid for w in windows})
        present = {w.key for w in windows}
        for gone in self._known - present:
            metrics.forget(gone)
        self._known = present

    def _pause_s(self, changes: list[datetime], *, done: bool) -> float:
        if not done:
            return SPACING_MIN_S
        until = min([INTERVAL_S, *((at - self._clock.now()) / timedelta(seconds=1) for at in changes)])
        return max(0.05, until)


async def _in_turns(work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """Some at a time: a thousand tasks at once would be megabytes, and as many requests."""
    done: list[R] = []
    for start in range(0, len(items), CONCURRENCY_MAX):
        done += await asyncio.gather(*(work(item) for item in items[start : start + CONCURRENCY_MAX]))
    return done


def _owners(found: Sequence[Found]) -> dict[tuple[str, str], tuple[str, str]]:
    """Which BillingWindow an HPA belongs to: the oldest that acts on it, and by name if they are of the same second."""
    claims = sorted(
        (w.metadata.creation_timestamp, *w.key, d.spec.target_ref.name)
        for w, d in found
        if d is not None and d.spec.mode is Mode.ACTIVE and w.metadata.deletion_timestamp is None
    )
    owners: dict[tuple[str, str], tuple[str, str]] = {}
    for _, namespace, name, target in claims:
        owners.setdefault((namespace, target), (namespace, name))
    return owners
