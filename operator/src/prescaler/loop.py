"""Every ten seconds, or as soon as something calls for it: bring every BillingWindow to where it belongs.

One loop over fresh lists instead of a timer per object: whatever was missed, whoever interfered and however long the
operator was down, one pass converges. Whatever one object, ConfigMap, namespace or target does costs that object only: it is
said on it, and tried again with back-off. Only a lost Lease and an API server that is away end a pass for everybody.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from prescaler import metrics
from prescaler.clock import Clock
from prescaler.kube.around import AROUND_KEPT_S, Around, look_around
from prescaler.kube.client import Kube, KubeError
from prescaler.kube.fetched import Fetched, Held
from prescaler.kube.lease import LeaderLease
from prescaler.kube.objects import BillingWindow, Scale
from prescaler.kube.see import TARGET_KINDS, WORKLOAD_KINDS, Seen, list_windows, see
from prescaler.window.assess import Assessment, assess
from prescaler.window.carry_out import LeadershipLostError, Outcome, carry_out
from prescaler.window.case import World
from prescaler.window.declared import CONFIG_MAP_KEPT_S, Declarations, Declared, Waiting, list_reader
from prescaler.window.pods import Pods, ScaleKey, Watched, claimed, pods_of, watched_of
from prescaler.window.raised import held
from prescaler.window.replay import PEAK_KEPT_S, peak_reader
from prescaler.window.spec import Mode, Spec
from prescaler.window.status import status_of
from prescaler.window.tell import Teller, tell
from prescaler.window.verdict import Verdict, no

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
SPACING_MIN_S = 1.0  # however many wake-ups arrive
RETRY_MAX_S = 60.0  # of one object: 1, 2, 4 seconds and so on up to this
CONCURRENCY_MAX = 20
PASS_MAX_S = 20.0  # after this nothing more is begun in a pass: what failed before is last in line
PLANS_MAX_S = 5.0  # of a pass, for plans that hold no longer
LISTS_WAIT_S = 2.0  # for lists of exceptions that have never been read
STALLED_AFTER_S = 90.0  # longer than a pass and what it had begun may take
SCALE_KEPT_S = 60.0

K = TypeVar("K")
V = TypeVar("V")
Scopes = tuple[str | None, ...]


@dataclass(slots=True)
class Failing:
    """One object that could not be finished; an edit gives it a fresh start."""

    generation: int
    times: int = 0
    due_at: float = 0.0


class Loop:
    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        namespaces: Sequence[str] = (),
        lease: LeaderLease | None = None,
        replay_urls: Sequence[str] = (),
        only_leaving: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `namespaces` it is the whole cluster; without a `lease` this replica always acts.

        `only_leaving`: only what is being deleted is looked at.
        """
        self._only_leaving = only_leaving
        self._kube, self._clock, self._lease = kube, clock, lease
        self._scopes: list[str | None] = list(namespaces) or [None]
        self._monotonic = monotonic
        self._wake = asyncio.Event()

        def fetched(read: Callable[[K], Awaitable[V]], kept_s: float) -> Fetched[K, V]:
            return Fetched(read, kept_s=kept_s, wake=self.wake, monotonic=monotonic)

        self._lists = fetched(list_reader(kube), CONFIG_MAP_KEPT_S)
        self._peaks = fetched(peak_reader(replay_urls), PEAK_KEPT_S)
        self._scales: Fetched[ScaleKey, Scale] = fetched(lambda key: kube.scale(*key), SCALE_KEPT_S)
        self._around: Fetched[Scopes, Around] = fetched(lambda scopes: look_around(kube, scopes), AROUND_KEPT_S)
        self._fetched: tuple[Fetched[Any, Any], ...] = (self._lists, self._peaks, self._scales, self._around)
        self._declarations = Declarations(self._lists, self._peaks, monotonic)
        self._failing: dict[str, Failing] = {}
        self._unreadable = 0  # passes in a row in which a list of targets failed
        self._waiting = 0  # objects that the last pass left unplanned
        self._known: set[tuple[str, str]] = set()
        self._stopping = False
        self._turned_at = monotonic()
        self.turned = asyncio.Event()  # after the first turn

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def leads(self) -> bool:
        return self._lease is None or self._lease.held()

    def stalled_for_s(self) -> float | None:
        """How long the loop has been stuck; None while it turns. A failing API server is not a stalled loop."""
        idle_s = self._monotonic() - self._turned_at
        return idle_s if idle_s > STALLED_AFTER_S else None

    async def run(self) -> None:
        metrics.follow(self.leads)
        keeper = asyncio.create_task(self._lease.keep(), name="prescaler-lease") if self._lease is not None else None
        while not self._stopping:
            pause_s = await self._turn()
            self._turned_at = self._monotonic()
            self.turned.set()
            try:
                await asyncio.wait_for(self._wake.wait(), pause_s)
            except TimeoutError:
                continue
            if not self._stopping:
                await asyncio.sleep(SPACING_MIN_S)  # wake-ups come in bursts; the pass clears them
        for each in self._fetched:
            await each.close()
        if keeper is not None and self._lease is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await self._lease.release()

    async def _turn(self) -> float:
        """One pass if this replica leads. Returns for how long nothing is due. Raises nothing."""
        try:
            if self._lease is not None and not await self._lease.acquire():
                metrics.forget_all()
                return INTERVAL_S
            return await self.tick()
        except KubeError as error:
            log.warning("the API server doesn't let this pass begin, trying again: %s", error)
            metrics.TICKS.labels("failed").inc()
            return max(SPACING_MIN_S, error.retry_after_s or 0)
        except LeadershipLostError:
            log.warning("another replica has taken the lead")
            metrics.forget_all()
            return SPACING_MIN_S
        except Exception:
            log.exception("a pass could not be made")
            metrics.TICKS.labels("failed").inc()
            metrics.ERRORS.labels("bug").inc()
            return INTERVAL_S

    async def tick(self) -> float:
        """Look at everything once. Raises KubeError when the API server doesn't answer."""
        began, started = time.perf_counter(), self._monotonic()
        self._wake.clear()
        metrics.CLOCK_OFFSET.set(self._clock.offset.total_seconds())
        windows, unseen = await list_windows(self._kube, self._scopes)
        self._forget(windows, unseen)
        now = self._clock.now().replace(microsecond=0)  # what is written is in whole seconds
        world = await self._world(windows, now)
        order = sorted(windows, key=lambda w: (f.times if (f := self._failing.get(w.metadata.uid)) else 0, w.key))
        gate = asyncio.Semaphore(CONCURRENCY_MAX)

        async def look(window: BillingWindow) -> None:
            async with gate:
                planned = window.metadata.uid in world.declared
                if planned and self._monotonic() - started < PASS_MAX_S and self._is_due(window):
                    await self._look(window, world, now)

        for outcome in await asyncio.gather(*map(look, order), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        for each in self._fetched:
            each.forget_unwanted()
        metrics.WINDOWS.set(len(windows))
        metrics.TICKS.labels("done").inc()
        metrics.TICK_SECONDS.observe(time.perf_counter() - began)
        metrics.LAST_TICK.set_to_current_time()
        return self._pause_s([d.plan.changes_at for d in world.declared.values() if isinstance(d, Declared)])

    async def settle(self, timeout_s: float) -> bool:
        """Wait for what is being read beside the passes. Whether there is anything new to say since the last pass."""
        for each in self._fetched:
            await each.settle(timeout_s)
        return self._wake.is_set()

    # ── what a pass knows ────────────────────────────────────────────────────────────────────────

    async def _world(self, windows: Sequence[BillingWindow], now: datetime) -> World:
        plan_until_s = self._monotonic() + PLANS_MAX_S
        found = await self._declarations.of_all(windows, now, plan_until_s)
        if await self._lists.settle(LISTS_WAIT_S):
            found = await self._declarations.of_all(windows, now, plan_until_s)
        declared = {uid: d for uid, d in found.items() if not isinstance(d, Waiting)}
        self._waiting = len(found) - len(declared)
        seen, namespaces = Seen(), {w.metadata.namespace for w in windows}
        clusterwide = self._scopes == [None]
        understood = [(w, d) for w in windows if isinstance(d := found[w.metadata.uid], Declared)]
        specs = [(w, d.spec) for w in windows if not isinstance(d := found[w.metadata.uid], Verdict)]
        kinds = {"HorizontalPodAutoscaler"} if windows else set[str]()
        kinds |= {spec.target_ref.kind for _, spec in specs}
        kinds |= {h.kind for w in windows if (h := held(w, now)) is not None} & TARGET_KINDS.keys()
        await see(self._kube, seen, kinds, namespaces, clusterwide=clusterwide)
        watched = watched_of(understood, seen, now)
        await see(
            self._kube,
            seen,
            {w.scales.kind for w in watched} & WORKLOAD_KINDS.keys(),
            namespaces,
            clusterwide=clusterwide,
        )
        owners = _owners(specs)
        pods = self._pods(watched, seen, (None,) if clusterwide else tuple(sorted(namespaces)))
        acting = [w for w in watched if owners.get((w.namespace, *w.declared.spec.target)) == w.window.key]
        self._unreadable = self._unreadable + 1 if seen.unreadable else 0
        return World(seen, declared, owners, pods, claimed(acting, pods, seen.around), self._clock.rehearsal)

    def _pods(self, watched: Sequence[Watched], seen: Seen, scopes: Scopes) -> dict[str, Pods]:
        """What surrounds the targets is asked for only where it explains something: fewer pods Ready than needed."""
        keys = {w.uid: key for w in watched if (key := w.scale_key) is not None}
        scales = {uid: self._scales.want(key) for uid, key in keys.items()}
        around: Held[Around] = Held()
        if any((pods_of(w, seen, around, scales.get(w.uid)).ready or 0) < w.need for w in watched):
            around = self._around.want(scopes)
            seen.around = around.value
        return {w.uid: pods_of(w, seen, around, scales.get(w.uid)) for w in watched}

    # ── one object ───────────────────────────────────────────────────────────────────────────────

    async def _look(self, window: BillingWindow, world: World, now: datetime) -> None:
        """Raises LeadershipLostError, and nothing else: the rest is this object's own trouble."""
        failing = self._failing.get(window.metadata.uid)
        try:
            assessment = assess(window, world, now)
            outcome = await carry_out(self._kube, window.metadata, assessment.to_do, self.leads)
            if outcome.failure is not None:
                self._failed(window, outcome.failure)
            await tell(self._teller(world.rehearsal), assessment, outcome, again=failing is not None)
        except LeadershipLostError:
            raise
        except KubeError as error:
            self._failed(window, error)
        except Exception as error:  # a mistake of ours that one object brings out must not cost the others
            log.exception("%s/%s: could not be looked at", *window.key)
            self._failed(window, error)
            await self._say_the_defect(window, error, now)
        else:
            if outcome.failure is None:
                self._failing.pop(window.metadata.uid, None)

    def _teller(self, rehearsal: str | None) -> Teller:
        return Teller(self._kube, self.leads, rehearsal)

    async def _say_the_defect(self, window: BillingWindow, error: Exception, now: datetime) -> None:
        words = f"a defect of the operator: {type(error).__name__}: {error!s:.200}"
        verdicts = {"Ready": no("OperatorError", words)}
        with suppress(KubeError):
            said = Assessment(window, now, (), verdicts, status_of(window))
            await tell(self._teller(self._clock.rehearsal), said, Outcome(window.metadata), again=True)

    def _failed(self, window: BillingWindow, error: Exception) -> None:
        metrics.ERRORS.labels(str(error.status) if isinstance(error, KubeError) else "bug").inc()
        if isinstance(error, KubeError):
            log.warning("%s/%s: trying again: %s", *window.key, error)
        failing = self._failing.setdefault(window.metadata.uid, Failing(window.metadata.generation))
        failing.times += 1
        asked_s = (error.retry_after_s or 0) if isinstance(error, KubeError) else 0
        failing.due_at = self._monotonic() + max(_back_off_s(failing.times), min(asked_s, RETRY_MAX_S))

    def _is_due(self, window: BillingWindow) -> bool:
        if self._only_leaving and window.metadata.deletion_timestamp is None:
            return False
        failing = self._failing.get(window.metadata.uid)
        if failing is not None and failing.generation != window.metadata.generation:
            del self._failing[window.metadata.uid]
            return True
        return failing is None or self._monotonic() >= failing.due_at

    def _forget(self, windows: Sequence[BillingWindow], unseen: set[str | None]) -> None:
        """What a namespace held that can't be listed just now is not gone."""
        self._declarations.forget_all_but(windows)
        uids = {w.metadata.uid for w in windows}
        present = {w.key for w in windows} | {key for key in self._known if key[0] in unseen}
        for uid in self._failing.keys() - uids:
            del self._failing[uid]
        for gone in self._known - present:
            metrics.forget(gone)
        self._known = present

    def _pause_s(self, changes: list[datetime]) -> float:
        retries = (failing.due_at - self._monotonic() for failing in self._failing.values())
        transitions = ((at - self._clock.now()) / timedelta(seconds=1) for at in changes)
        again = [_back_off_s(self._unreadable)] if self._unreadable else []
        again += [SPACING_MIN_S] if self._waiting else []
        return max(0.05, min([INTERVAL_S, *again, *retries, *transitions]))


def _back_off_s(times: int) -> float:
    return min(RETRY_MAX_S, SPACING_MIN_S * 2.0 ** min(times - 1, 10))


def _owners(specs: Sequence[tuple[BillingWindow, Spec]]) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Which BillingWindow a target belongs to: the oldest that acts on it, and by name if they are of the same second."""
    claims = sorted(
        (w.metadata.creation_timestamp, *w.key, *spec.target)
        for w, spec in specs
        if spec.mode is Mode.ACTIVE and w.metadata.deletion_timestamp is None
    )
    owners: dict[tuple[str, str, str], tuple[str, str]] = {}
    for _, namespace, name, kind, target in claims:
        owners.setdefault((namespace, kind, target), (namespace, name))
    return owners
