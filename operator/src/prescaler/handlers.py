"""Where kopf comes in: it logs in, watches and stops gracefully; the loop does the work.

Only plain event handlers are used: the change-detecting ones would write annotations on every object. The finalizer is the
operator's own, held only while there is something to give back.
"""

import asyncio
import logging
import os
import re
import socket
from dataclasses import dataclass, field
from typing import Any

import kopf
from aiohttp import web
from prometheus_client import start_http_server

from prescaler.clock import Clock
from prescaler.kube.client import REQUEST_TIMEOUT_S, Kube, credentials
from prescaler.kube.lease import LeaderLease
from prescaler.kube.objects import FINALIZER, GROUP, VERSION
from prescaler.loop import Loop
from prescaler.window.schema import InvalidSpecError

log = logging.getLogger(__name__)

FIRST_TURN_S = 30.0


def checked_namespaces(names: tuple[str, ...]) -> tuple[str, ...]:
    """A pattern such as `team-*` would list nothing, silently."""
    for name in names:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
            raise InvalidSpecError(f"`{name}` is not the name of a namespace; patterns are not supported")
    return names


@dataclass(slots=True)
class Options:
    """How this process runs. No namespace means the whole cluster."""

    namespaces: tuple[str, ...] = ()
    replay_urls: tuple[str, ...] = ()
    lease_namespace: str | None = None
    health_port: int | None = None
    metrics_port: int | None = None
    clock: Clock = field(default_factory=Clock)


@dataclass(slots=True)
class Running:
    loop: Loop
    kube: Kube
    task: asyncio.Task[None]


def start(options: Options) -> Running:
    kube = Kube()
    lease = (
        LeaderLease(kube, options.lease_namespace, f"{socket.gethostname()}-{os.getpid()}")
        if options.lease_namespace
        else None
    )
    loop = Loop(kube, options.clock, namespaces=options.namespaces, lease=lease, replay_urls=options.replay_urls)
    return Running(loop, kube, asyncio.create_task(loop.run(), name="prescaler-loop"))


@kopf.on.startup()
async def begin(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    settings.posting.enabled = False  # the loop writes its own events
    settings.scanning.disabled = True  # no watching of namespaces and CRDs: less to be allowed
    settings.peering.standalone = True  # peering is not a lock; the Lease is
    settings.networking.request_timeout = REQUEST_TIMEOUT_S
    settings.queueing.idle_timeout = 0.1  # an event only wakes the loop: its object need not be kept for another one
    settings.watching.connect_timeout = REQUEST_TIMEOUT_S
    settings.watching.server_timeout = 5 * 60
    settings.watching.client_timeout = 6 * 60  # a connection that died silently is noticed
    options: Options = memo["options"]
    if options.clock.rehearsal:
        log.warning(options.clock.rehearsal)
    memo["running"] = running = start(options)
    memo["served"] = await serve(running, options)
    # The first pass before the watches: both together need twice the memory. They also start when it takes long.
    await asyncio.wait(
        {asyncio.create_task(running.loop.turned.wait()), running.task},
        timeout=FIRST_TURN_S,
        return_when=asyncio.FIRST_COMPLETED,
    )


@kopf.on.login()
def login(**_: Any) -> kopf.ConnectionInfo:
    """The same credentials for watching and for acting."""
    return credentials()


@kopf.on.event(GROUP, VERSION, "billingwindows")
async def changed(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
    """Wake the loop for what it doesn't know yet; its own writes to the status are no news."""
    meta, status = event["object"].get("metadata", {}), event["object"].get("status", {})
    deleting = "deletionTimestamp" in meta and FINALIZER in meta.get("finalizers", ())
    if event["type"] != "DELETED" and (meta.get("generation") != status.get("observedGeneration") or deleting):
        memo["running"].loop.wake()


async def serve(running: Running, options: Options) -> web.AppRunner:
    """Metrics and health on every address of either family: a pod may have one or both, and kopf's own endpoint serves one.

    Health fails, and with it the liveness probe, when the loop is stuck or has died: an open port proves nothing.
    """
    dual = socket.has_dualstack_ipv6()
    if options.metrics_port:
        start_http_server(options.metrics_port, "::" if dual else "0.0.0.0")  # noqa: S104 - the pod's addresses

    async def alive(_: web.Request) -> web.Response:
        if running.task.done():
            return web.Response(status=500, text=f"the loop has ended: {running.task}")
        stalled_s = running.loop.stalled_for_s()
        if stalled_s is not None:
            return web.Response(status=500, text=f"the loop has been stuck for {stalled_s:.0f} s")
        return web.Response(text="turning")

    app = web.Application()
    app.router.add_get("/healthz", alive)
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    await runner.setup()
    if options.health_port:
        family = socket.AF_INET6 if dual else socket.AF_INET
        listener = socket.create_server(("", options.health_port), family=family, dualstack_ipv6=dual)
        await web.SockSite(runner, listener).start()
    return runner


@kopf.on.cleanup()
async def end(memo: kopf.Memo, **_: Any) -> None:
    """Finish the pass that is under way, hand over the lead."""
    running: Running = memo["running"]
    running.loop.stop()
    await running.task
    await running.kube.close()
    await memo["served"].cleanup()
