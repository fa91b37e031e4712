"""Puts the parts together: from settings to a running service, and back down without losing what was taken in.

The only module that knows all layers. It decides nothing itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from starlette.routing import Route, Router

from energy import lag, metrics
from energy.domain.checks import CheckPolicy
from energy.domain.window import SubmissionWindow, period_of
from energy.http.app import Application
from energy.http.auth import Authenticator
from energy.http.batch import Batch, BatchLimits
from energy.http.billing import Billing
from energy.http.binding import Bindings
from energy.http.corrections import Corrections
from energy.http.documentation import Documentation
from energy.http.history import History
from energy.http.keys import Keys
from energy.http.openapi import Limits, document
from energy.http.probes import Probes
from energy.http.queries import Access
from energy.http.readings import Readings
from energy.http.shares import Shares
from energy.ingest.committer import AtomicCommitter, Committer
from energy.ingest.lastuse import LastUse
from energy.ingest.lookup import Lookup, LookupLimits
from energy.ingest.queue import IngestQueue, QueueLimits
from energy.ingest.rejudging import Rejudging
from energy.settings import AuthMode, Settings, WriteStrategy
from energy.store import schema
from energy.store.ports import BatchStore, Unavailable
from energy.store.postgres.database import Database, PoolLimits, UnsafeDatabase
from energy.store.postgres.keys import PostgresKeys
from energy.store.postgres.reader import PostgresReader
from energy.store.postgres.readiness import SchemaWatch
from energy.store.postgres.rejudge import PostgresRejudge
from energy.store.postgres.writer import AtomicWriter, CorrectionWriter, PostgresWriter
from energy.wire.bodies import ReadingIn, ValueIn, decoder

log = logging.getLogger(__name__)

_SAMPLE_S = 1.0
_RECONNECT_S = 0.5
_PATIENCE_S = 300.0
"""So long a pod whose database is away still gets requests. Longer, and it may be this pod's own network."""
_REJUDGE_AT_STOP_S = 2.0


def database_of(settings: Settings, dsn: str) -> Database:
    """The primary database under the settings' limits, for writing."""
    limits = _pool_limits(settings, settings.database_connections_max)
    return Database(dsn, limits, allow_unsafe=settings.allow_unsafe_database)


def _pool_limits(settings: Settings, connections_max: int) -> PoolLimits:
    return PoolLimits(
        connections_max,
        settings.database_connect_timeout_s,
        settings.statement_cache_size,
        settings.database_connection_age_max_s,
    )


def lookup_limits(settings: Settings) -> LookupLimits:
    """Look-ups come before everything else that a request waits for: half of its time is the most that they may take."""
    timeout_s = min(settings.database_connect_timeout_s, settings.request_timeout_s / 2)
    return LookupLimits(settings.key_cache_ttl_s, timeout_s, known_max=settings.key_cache_max)


def policy_of(settings: Settings) -> CheckPolicy:
    """The rules that readings are checked by."""
    window = SubmissionWindow(settings.window_from_day, settings.window_to_day)
    return CheckPolicy(window, settings.time_zone, settings.future_tolerance_s, settings.spike_kwh_per_day_max)


def queue_limits(settings: Settings, strategy: WriteStrategy) -> QueueLimits:
    """The write strategies of the task as numbers: how many lanes, and how many readings one of them takes at once."""
    lanes, batch_rows_max = {
        WriteStrategy.GROUP: (settings.lanes, settings.batch_rows_max),
        WriteStrategy.PARALLEL: (settings.database_connections_max, 1),
        WriteStrategy.SEQUENTIAL: (1, 1),
    }[strategy]
    return QueueLimits(
        lanes,
        batch_rows_max,
        settings.queue_rows_max,
        settings.queue_age_max_s,
        settings.request_timeout_s,
        settings.linger_ms / 1000,
    )


utc_now: Callable[[], datetime] = functools.partial(datetime.now, UTC)
"""The clock of readings."""


class Service:
    """One process: its database pools, its queues, and the ASGI application in front of them."""

    def __init__(self, settings: Settings, dsn: str, *, on_unsafe: Callable[[UnsafeDatabase], None]) -> None:
        self._settings = settings
        self._on_unsafe = on_unsafe
        self.database = database_of(settings, dsn)
        read_url = settings.database_read_url
        read_limits = _pool_limits(settings, settings.database_read_connections_max)
        # Of their own, so that neither a slow dashboard nor a probe takes the connections that readings need.
        self.reads = Database(dsn, read_limits, writes=False, name="read")
        self.replica = (
            Database(read_url.get_secret_value(), read_limits, writes=False, name="replica") if read_url else None
        )
        self._probe = Database(dsn, _pool_limits(settings, 1), writes=False, name="probe")
        self._clock = asyncio.get_running_loop().time
        self._policy = policy_of(settings)
        self._keys = PostgresKeys(self.database, settings.database_connect_timeout_s)
        self._last_use = LastUse(self._keys, asyncio.sleep)
        self._rejudging = Rejudging(
            PostgresRejudge(self.database, self._policy, settings.request_timeout_s), asyncio.sleep
        )
        self._writer = PostgresWriter(self.database, self._policy, utc_now)
        committer = self._committer(self._writer)
        self.queue = IngestQueue(committer, queue_limits(settings, settings.write_strategy), self._clock)
        # /v2/values promises the task's order: one lane, so never two writes at once.
        ordered = queue_limits(settings, WriteStrategy.GROUP)
        self.ordered_queue = IngestQueue(
            committer,
            QueueLimits(
                1, ordered.batch_rows_max, ordered.rows_max, ordered.age_max_s, ordered.deadline_s, ordered.linger_s
            ),
            self._clock,
        )
        # A correction marks another row in its transaction, and may wait for that row: nobody else has to.
        self.corrections = IngestQueue(
            self._committer(CorrectionWriter(self._writer)),
            dataclasses.replace(self.ordered_queue.limits, batch_rows_max=1),
            self._clock,
        )
        self._reader = PostgresReader(self.reads, self.replica, settings.replica_lag_max_s, settings.request_timeout_s)
        self._schema = SchemaWatch(self._probe, schema.head(), settings.time_zone, self._clock, _PATIENCE_S)
        self.draining = False
        self._taking = True
        self._background: list[asyncio.Task[None]] = []
        self.app = self._application(committer)

    async def start(self) -> None:
        """Starts the lanes, and connects now or as soon as the database is there. Raises `UnsafeDatabase`."""
        try:
            await self.database.connect()
        except UnsafeDatabase:
            raise
        except Unavailable as error:
            log.warning("waiting for the database: %s", error)
            self._background.append(asyncio.create_task(self._connect(), name="connect"))
        self.queue.start()
        self.ordered_queue.start()
        self.corrections.start()
        self._rejudging.start()
        self._background.append(asyncio.create_task(self._sample(), name="sample"))
        self._background.append(asyncio.create_task(lag.measure(), name="lag"))
        self._background.append(asyncio.create_task(self._last_use.run(), name="last-use"))
        self._background.append(asyncio.create_task(self._keep_counted(), name="progress"))

    async def stop(self) -> None:
        """Settles everything that waits, then closes the connections."""
        self.begin_draining()
        await asyncio.gather(self.queue.drain(), self.ordered_queue.drain(), self.corrections.drain())
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        metrics.count_answered()
        await self._rejudging.stop(_REJUDGE_AT_STOP_S)
        databases = (self.database, self.reads, self.replica, self._probe)
        await asyncio.gather(*(database.close() for database in databases if database is not None))
        log.info("drained: every reading that was taken in has its outcome")

    def begin_draining(self) -> None:
        """Says that it is not ready, and goes on serving."""
        self.draining = True

    def stop_taking(self) -> None:
        """Refuses new batches: the server is about to stop listening, and a long one would hold it up."""
        self._taking = False

    async def complaint(self) -> str | None:
        """Why this replica should get no requests now, or nothing. Overload is none: the others would get it, too."""
        return "stopping" if self.draining else await self._schema.complaint()

    def _committer(self, store: BatchStore, kind: type[Committer] = Committer) -> Committer:
        return kind(self._rejudging.around(store), self._clock, asyncio.sleep)

    def _application(self, committer: Committer) -> Application:
        settings, clock = self._settings, self._clock
        keys = self._keys
        looked_up = lookup_limits(settings)
        authenticator = Authenticator(
            keys if settings.auth is AuthMode.KEYS else None,
            clock, looked_up, settings.rate_per_s, settings.rate_burst, self._last_use.note,
        )  # fmt: skip
        bindings = Bindings(Lookup("devices", keys.accounts, looked_up, clock))
        access = Access(authenticator, bindings)
        window, zone = self._policy.window, settings.time_zone
        value, ordered, reading = (
            Readings(decoder(shape), queue, authenticator, bindings, settings.body_bytes_max, utc_now, json_only)
            for shape, queue, json_only in (
                (ValueIn, self.queue, False),
                (ValueIn, self.ordered_queue, False),
                (ReadingIn, self.queue, True),
            )
        )
        batch = Batch(
            committer, self._committer(AtomicWriter(self._writer), AtomicCommitter), authenticator, bindings,
            BatchLimits(
                settings.batch_body_bytes_max, settings.batch_items_max, settings.batch_requests_max, settings.bulk_lanes,
                settings.request_timeout_s,
            ),
            utc_now, clock, lambda: not self._taking,
        )  # fmt: skip
        corrections = Corrections(
            self._reader, self.corrections, access, window, zone, utc_now, settings.body_bytes_max
        )
        history = History(self._reader, access, settings.history_items_max)
        # One connection is always left to history and corrections, however slowly exports are read.
        exports = Shares(max(settings.database_read_connections_max - 1, 1))
        billing = Billing(self._reader, access, exports, window, zone, utc_now)
        admin = Keys(keys, access, utc_now, settings.batch_body_bytes_max)
        probes = Probes(self.complaint)
        told = Limits(
            settings.body_bytes_max, settings.batch_body_bytes_max, settings.batch_items_max, settings.history_items_max
        )
        self.document = document(told)
        routes = [
            Route("/v1/values", value, methods=["POST"]),
            Route("/v2/values", ordered, methods=["POST"]),
            Route("/v1/readings", reading, methods=["POST"]),
            Route("/v1/readings/batch", batch, methods=["POST"]),
            Route("/v1/readings/{device_id}/{reading_id}/correction", corrections.correct, methods=["POST"]),
            Route("/v1/devices/{device_id}/readings", history.of_device),
            Route("/v1/accounts/{account_no:path}/readings", history.of_account),
            Route("/v1/window", billing.window_now),
            Route("/v1/progress", billing.progress),
            Route("/v1/export", billing.export),
            Route("/v1/keys", admin.page, methods=["GET"]),
            Route("/v1/keys", admin.create, methods=["POST"]),
            Route("/v1/keys/{key_id}", admin.revoke, methods=["DELETE"]),
            Route("/livez", probes.livez),
            Route("/readyz", probes.readyz),
            Route("/metrics", probes.metrics),
            *Documentation(self.document).routes(),
        ]
        return Application(routes, self._lifespan, settings.retry_after_s)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _router: Router) -> AsyncIterator[None]:
        await self.start()
        yield
        await self.stop()

    async def _connect(self) -> None:
        while not self.database.connected:
            await asyncio.sleep(_RECONNECT_S)
            try:
                await self.database.connect()
            except UnsafeDatabase as error:
                self._on_unsafe(error)
                return
            except Unavailable as error:
                log.info("still waiting for the database: %s", error)
        log.info("connected to the database")

    async def _keep_counted(self) -> None:
        zone = ZoneInfo(self._settings.time_zone)
        await self._reader.counts.keep_counted(lambda: period_of(utc_now(), self._policy.window, zone), asyncio.sleep)

    async def _sample(self) -> None:
        """The gauges, once a second: a scrape must not cost more when there is more to say."""
        while True:
            metrics.count_answered()
            metrics.QUEUE_ROWS.set(self.queue.rows + self.ordered_queue.rows + self.corrections.rows)
            metrics.QUEUE_AGE_SECONDS.set(max(self.queue.age_s, self.ordered_queue.age_s))
            pools = [self.database.connections, self.reads.connections]
            used, idle = (sum(counts) for counts in zip(*pools, strict=True))
            metrics.CONNECTIONS.labels("used").set(used)
            metrics.CONNECTIONS.labels("idle").set(idle)
            await asyncio.sleep(_SAMPLE_S)
