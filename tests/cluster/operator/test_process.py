"""The operator as it is installed: a process of its own, with a service account that may do what rbac.yaml says."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from prescaler.kube.client import LEASES
from prescaler.kube.lease import DURATION_S, LeaderLease
from tools.cluster import Cluster
from tools.local.waiting import free_port, until
from unit.prescaler.rig import END, INSIDE, Rig

pytestmark = pytest.mark.cluster

RBAC: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parents[3] / "operator" / "rbac.yaml").read_text(encoding="utf-8")
)
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def kubeconfig(api: Cluster, rig: Rig, tmp_path: Path) -> Path:
    """Of the account that the operator runs as: the rules of rbac.yaml in its namespace, and no others."""
    return account(api, rig.namespace, "prescaler", RBAC["namespaced"] + RBAC["lease"], tmp_path)


@pytest.fixture
def releasing(api: Cluster, rig: Rig, tmp_path: Path) -> Path:
    """Of the account that an uninstall uses: it may delete BillingWindows, which the running operator may not."""
    return account(api, rig.namespace, "release", RBAC["namespaced"] + RBAC["release"], tmp_path)


def account(api: Cluster, space: str, name: str, rules: list[dict[str, Any]], folder: Path) -> Path:
    group = "rbac.authorization.k8s.io"
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": space}]
    meta = {"name": name, "namespace": space}
    api.kubectl.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": subjects,
        },
    )
    token = api.kubectl("create", "token", name, "-n", space).strip()
    config = yaml.safe_load(api.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = folder / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def start(kubeconfig: Path, rig: Rig) -> Iterator[Start]:
    with ExitStack() as running:

        def begin(*options: str, now: str = INSIDE.isoformat()) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "prescaler", "run", "-n", rig.namespace, *options]
            environment = os.environ | {"KUBECONFIG": str(kubeconfig), "PRESCALER_CLOCK_START": now}
            process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
            running.callback(process.communicate)
            running.callback(process.kill)
            return process

        yield begin


async def health(port: int) -> tuple[int, str]:
    """Of a process that begins."""

    def answered() -> tuple[int, str] | None:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
        except httpx.TransportError:
            return None
        return answer.status_code, answer.text

    return await asyncio.to_thread(until, answered, "the probe is answered", 60) or (0, "")


async def minimum_is(rig: Rig, value: int, timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while await rig.minimum() != value:  # noqa: ASYNC110 - the state is the API server's
            await asyncio.sleep(0.1)


async def test_it_works_with_the_documented_rights_and_is_killed_and_replaced(rig: Rig, start: Start) -> None:
    await rig.hpa()
    await rig.window()
    first = start()
    await minimum_is(rig, 8)
    first.send_signal(signal.SIGKILL)
    assert await asyncio.to_thread(first.wait, 10) == -signal.SIGKILL
    await rig.set_minimum(3)
    second = start()
    await minimum_is(rig, 8)
    second.terminate()
    _, log = await asyncio.to_thread(second.communicate, None, 20)
    assert second.returncode == 0, "a graceful stop"
    assert b"Traceback" not in log
    assert b"orbidden" not in log, "nothing was asked for that rbac.yaml doesn't grant, but for the optional nodes"
    start(now=END.isoformat())
    await minimum_is(rig, 2)


async def test_a_change_of_the_spec_is_acted_on_at_once(rig: Rig, start: Start) -> None:
    await rig.hpa()
    start()
    await rig.window()
    await minimum_is(rig, 8, timeout_s=20)
    spec = (await rig.get("apis/prescaler.energy-readings.dev/v1alpha1 billingwindows", "volga"))["spec"]
    spec["windows"][0]["minReplicas"] = 11
    began = asyncio.get_running_loop().time()
    await rig.edit("apis/prescaler.energy-readings.dev/v1alpha1 billingwindows", "volga", {"spec": spec})
    await minimum_is(rig, 11)
    assert asyncio.get_running_loop().time() - began < 8, "before the next regular look"


async def test_of_two_replicas_one_acts_and_hands_over_when_it_stops(rig: Rig, start: Start) -> None:
    await rig.hpa()
    await rig.window()
    first = start("--lease-namespace", rig.namespace)
    await minimum_is(rig, 8)
    port = free_port()
    second = start("--lease-namespace", rig.namespace, "--health-port", str(port))
    await health(port)
    holder = (await rig.get("apis/coordination.k8s.io/v1 leases", "prescaler"))["spec"]["holderIdentity"]
    assert holder.endswith(str(first.pid))
    first.terminate()
    assert await asyncio.to_thread(first.wait, 20) == 0
    await rig.set_minimum(3)
    await minimum_is(rig, 8)
    holder = (await rig.get("apis/coordination.k8s.io/v1 leases", "prescaler"))["spec"]["holderIdentity"]
    assert holder.endswith(str(second.pid))


async def test_it_outlives_a_restart_of_the_api_server(api: Cluster, rig: Rig, start: Start) -> None:
    await rig.hpa()
    await rig.window()
    process = start()
    await minimum_is(rig, 8)
    await asyncio.to_thread(api.restart_apiserver)
    await rig.set_minimum(3)
    await minimum_is(rig, 8)
    assert process.poll() is None


async def release(kubeconfig: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prescaler", "release", "--timeout", "20", *options]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("running", [True, False], ids=["beside a running operator", "without one"])
async def test_releasing_one_window_gives_its_target_back_and_leaves_the_others(
    rig: Rig,
    start: Start,
    releasing: Path,
    running: bool,  # noqa: FBT001 - a parameter
) -> None:
    for name in ("energy", "theirs"):
        await rig.hpa(name)
        await rig.window(name, targetRef={"name": name})
    operator = start()
    await minimum_is(rig, 8)
    async with asyncio.timeout(20):
        while await rig.minimum("theirs") != 8:  # noqa: ASYNC110 - the state is the API server's
            await asyncio.sleep(0.1)
    if not running:
        operator.kill()
        await asyncio.to_thread(operator.wait, 10)
    done = await release(releasing, "-n", rig.namespace, "--name", "energy")
    assert (done.returncode, done.stdout) == (0, "1 BillingWindows are gone\n"), done.stderr
    assert (await rig.minimum(), await rig.minimum("theirs")) == (2, 8)
    done = await release(releasing, "-n", rig.namespace)
    assert (done.returncode, done.stdout) == (0, "1 BillingWindows are gone\n"), done.stderr
    assert await rig.minimum("theirs") == 2


async def test_the_running_account_cannot_delete_a_window(rig: Rig, kubeconfig: Path) -> None:
    await rig.hpa()
    await rig.window()
    done = await release(kubeconfig, "-n", rig.namespace)
    assert done.returncode == 1
    assert "orbidden" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_leader_that_vanished_is_replaced_after_its_lease(rig: Rig) -> None:
    now = 1000.0
    first, second = (LeaderLease(rig.kube, rig.namespace, name, monotonic=lambda: now) for name in ("a", "b"))
    assert await first.acquire()
    assert not await second.acquire()
    now += DURATION_S - 1
    assert not await second.acquire()
    now += 2
    assert not first.held(), "it knows itself that its time is up"
    assert await second.acquire()
    assert not await first.acquire()
    await second.release()
    assert await first.acquire()
    lease = await rig.kube.get(LEASES, rig.namespace, "prescaler")
    assert lease is not None
    assert lease.spec.lease_transitions == 2


async def test_the_running_process_answers_probes(start: Start) -> None:
    port = free_port()
    start("--health-port", str(port))
    assert await health(port) == (200, "turning")


async def test_the_api_server_itself_counts_no_writes_when_nothing_changes(api: Cluster, rig: Rig) -> None:
    await rig.hpa()
    await rig.window()
    await rig.tick(INSIDE)
    await rig.tick()

    def writes() -> dict[str, str]:
        lines = api.kubectl("get", "--raw", "/metrics").splitlines()
        kinds = ('resource="billingwindows"', 'resource="horizontalpodautoscalers"', 'resource="events"')
        counted = [
            line for line in lines if line.startswith("apiserver_request_total") and any(k in line for k in kinds)
        ]
        return {
            k: v
            for k, v in (line.rsplit(" ", 1) for line in counted)
            if 'verb="GET"' not in k and 'verb="LIST"' not in k
        }

    before = await asyncio.to_thread(writes)
    for _ in range(20):
        await rig.tick()
    assert before, json.dumps(before)
    assert await asyncio.to_thread(writes) == before
