"""Objects of random bytes, dates, durations and statuses beside a healthy one: it is always served, and each bad one says why.

Seeds come from hypothesis; an object is made from its seed alone, so a failure names one number. The API in memory stores
anything here: a real one refuses most of it. `make fuzz` runs more of the same.
"""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prescaler import metrics
from support.drawn import examples
from unit.prescaler.memory import MemoryApi
from unit.prescaler.rig import BW, INSIDE, SPEC, MemoryKube, Rig

OBJECTS = 100  # beside the healthy one

Make = Callable[[random.Random], Any]

DATES = [
    "2027-01-20",
    "2027-02-30",
    "2027-13-01",
    "0001-01-01",
    "9999-12-31",
    "2199-12-31",
    "2000-01-01",
    "20270120",
    "",
]
DURATIONS = ["30m", "7d", "9999999d", "4000000d", "99999s", "0s", "-5m", "1h1h", "", "\u0663\u0660m", "1e9s", "P1D"]
TIMES = ["00:00", "24:00", "25:00", "9:30", "23:59", "", "24:01", "\u0661\u0662:00"]
ZONES = [
    "Europe/Moscow",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Europe",
    "../../etc/passwd",
    "",
    "UTC\x00",
    "Pacific/Apia",
]
NAMES = ["energy", "../x", "..", "a/b", "", "\n", "\u043f\u0438\u043a", "x" * 300, "w"]
NUMBERS = [-1, 0, 1, 2, 8, 31, 32, 10_000, 10_001, 2**31, 2**63, 2**70, -(2**70)]


def of(*choices: list[Any]) -> Make:
    return lambda r: r.choice(r.choice(choices))


def scalar(r: random.Random) -> Any:
    return r.choice(
        [
            None,
            True,
            1.5,
            -0.0,
            r.choice(NUMBERS),
            r.choice(DATES),
            r.choice(DURATIONS),
            text(r),
            [],
            {},
            [[]],
            {"": None},
        ]
    )


def text(r: random.Random) -> str:
    return r.randbytes(r.randrange(40)).decode("latin-1")


def anything(r: random.Random, depth: int = 3) -> Any:
    kind = r.randrange(4) if depth else 3
    if kind == 0:
        return [anything(r, depth - 1) for _ in range(r.randrange(4))]
    if kind == 1:
        keys = [r.choice(["name", "minReplicas", "date", "type", "status", text(r)]) for _ in range(r.randrange(4))]
        return {key: anything(r, depth - 1) for key in keys}
    return scalar(r)


def window(r: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {"name": r.choice(NAMES), "fromDay": r.choice([1, 15, 31]), "toDay": r.choice([1, 26, 31])}
    made |= {"startTime": r.choice(TIMES[:2]), "endTime": r.choice(TIMES)}
    made |= r.choice([{"minReplicas": r.choice(NUMBERS)}, {"demand": demand(r)}, {"minReplicas": 8}])
    if r.random() < 0.4:
        peak = {"from": r.choice(TIMES), "to": r.choice(TIMES), "minReplicas": r.choice(NUMBERS)}
        made["peaks"] = [peak] * r.randrange(3)
    return made


def demand(r: random.Random) -> dict[str, Any]:
    factors = ["1", "1.3", "0", "9" * 8, "1e9", "", "1/0"]
    return {
        "requestsPerSecond": r.choice(NUMBERS),
        "requestsPerSecondPerPod": r.choice(NUMBERS),
        "headroom": r.choice(factors),
    }


def exception(r: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {"date": r.choice(DATES), "action": r.choice(["Skip", "Extend", "Override", "Open", "Shut"])}
    for key, values in (("until", DATES), ("to", DATES), ("minReplicas", NUMBERS), ("windows", [["w"], [""], "w", []])):
        if r.random() < 0.4:
            made[key] = r.choice(values)
    return made


FIELDS: dict[str, Make] = {
    "targetRef": lambda r: {
        "name": r.choice(NAMES),
        "kind": r.choice(["HorizontalPodAutoscaler", "ScaledObject", "Pod"]),
    },
    "baseline": lambda r: {"minReplicas": r.choice(NUMBERS)},
    "timeZones": lambda r: [r.choice(ZONES) for _ in range(r.randrange(4))],
    "leadTime": of(DURATIONS),
    "rampUp": lambda r: {"duration": r.choice(DURATIONS), "steps": r.choice(NUMBERS)},
    "rampDown": lambda r: {"duration": r.choice(DURATIONS), "steps": r.choice(NUMBERS)},
    "windows": lambda r: [window(r) for _ in range(r.randrange(4))],
    "exceptions": lambda r: [exception(r) for _ in range(r.randrange(6))],
    "exceptionsFrom": lambda r: {"configMap": r.choice(["fuzz", "none", *NAMES]), "key": r.choice(["a", "b", ".."])},
    "exceptionsReach": of(DURATIONS),
    "mode": lambda r: r.choice(["Active", "Preview", "Suspended", "Off"]),
    "driftPolicy": lambda r: r.choice(["Raise", "Enforce", "Yield"]),
    "maxReplicasPolicy": lambda r: r.choice(["Clamp", "Fail", "Raise"]),
    "capacity": lambda r: {"nodes": r.choice(["Check", "Ignore", ""])},
    "replay": lambda r: {"url": r.choice(["http://127.0.0.1:9", "ftp://x", ""]), "query": text(r)} | demand(r),
}


SOUND: dict[str, Make] = {
    "timeZones": lambda r: r.sample(["Europe/Moscow", "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Apia"], 2),
    "leadTime": of(["30m", "7d", "99999s", "0s"]),
    "rampUp": lambda r: {"duration": r.choice(["0s", "7d", "1h1m1s"]), "steps": r.choice([1, 3, 100])},
    "mode": lambda r: r.choice(["Active", "Active", "Preview", "Suspended"]),
    "driftPolicy": lambda r: r.choice(["Raise", "Enforce"]),
    "exceptions": lambda r: [
        {"date": r.choice(["2199-12-31", "2000-01-01", "2027-01-20"]), "action": "Extend", "until": "2199-12-31"},
        {"date": "2000-01-01", "to": "2199-12-31", "action": r.choice(["Open", "Override"]), "minReplicas": 9},
        {"date": "2027-01-26", "action": "Skip", "windows": ["monthly"]},
    ][: r.randrange(4)],
}  # fmt: skip


def body(seed: int, name: str) -> dict[str, Any]:
    r = random.Random(seed)  # noqa: S311 - cases, not secrets
    spec: Any = SPEC | {"targetRef": {"name": f"target-{seed}"}} | {field: make(r) for field, make in SOUND.items()}
    for field in r.sample([*FIELDS], r.choice([0, 0, 1, 1, 2])):
        spec[field] = FIELDS[field](r) if r.random() < 0.8 else anything(r)
    if r.random() < 0.05:
        spec = anything(r)
    made: dict[str, Any] = {"metadata": {"name": name}, "spec": spec}
    if r.random() < 0.5:
        status = ["conditions", "history", "replay", "overwrittenAt", "phase", "readyTime", "observedGeneration"]
        made["status"] = {key: anything(r) for key in r.sample(status, 2)} if r.random() < 0.9 else anything(r)
    if r.random() < 0.3:
        note = r.choice([text(r), '{"kind":"x","name":"..","baseline":-5,"until":"9999-12-31T23:59:59Z"}', "[" * 999])
        made["metadata"] |= {"annotations": {"prescaler.energy-readings.dev/raised": note}}
        made["metadata"] |= {"finalizers": ["prescaler.energy-readings.dev/restore-baseline"]}
    return made


async def served(seed: int, count: int) -> None:
    api = MemoryApi(validates=False)
    rig = Rig("district", MemoryKube(api))
    await rig.hpa()
    await rig.hpa("healthy")
    healthy = {"targetRef": {"kind": "HorizontalPodAutoscaler", "name": "healthy"}}
    await rig.window("healthy", **healthy)
    lists = {"a": text(random.Random(seed)), "b": "- {date: 2027-02-30, action: Skip}"}  # noqa: S311 - as above
    await rig.make("api/v1 configmaps", {"metadata": {"name": "fuzz"}, "data": lists})
    names = {f"bad-{seed + number}": seed + number for number in range(count)}
    for name, each in names.items():
        await rig.hpa(f"target-{each}", low=random.Random(each).choice([1, 2, 8]))  # noqa: S311 - as above
        await rig.make(BW, body(each, name))
    try:
        await rig.tick(INSIDE)
        await rig.tick(INSIDE + timedelta(days=31))
    finally:
        for fetched in (rig.loop._lists, rig.loop._peaks, rig.loop._around):
            await fetched.close()
        metrics.forget_all()
    assert await rig.minimum("healthy") == 8
    for name in names:
        kind, reason, message = await rig.condition("Ready", name)
        assert kind in {"True", "False", "Unknown"}, f"{name} says nothing"
        assert message, f"{name} does not say why"
        assert reason != "OperatorError", f"{name}: {message}"
        assert not message.startswith("not understood"), f"{name}: {message}"


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**40))
async def test_a_healthy_object_is_served_whatever_stands_beside_it(seed: int) -> None:
    await served(seed * OBJECTS, OBJECTS)
