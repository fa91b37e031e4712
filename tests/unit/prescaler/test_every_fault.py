"""Every write of the way up, of the way down and of a deletion meets every fault; then all is right again, and it was said."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from unit.prescaler.rig import BW, END, INSIDE, LEAD, QUIET, KilledError, Rig

Path = Callable[[Rig], Awaitable[None]]


async def up(rig: Rig) -> None:
    rig.at(LEAD)


async def down(rig: Rig) -> None:
    await rig.tick(INSIDE)
    rig.at(END)


async def deletion(rig: Rig) -> None:
    await rig.tick(INSIDE)
    await rig.delete(BW, "volga")


WAYS: dict[str, tuple[Path, int]] = {"up": (up, 8), "down": (down, 2), "deletion": (deletion, 2)}
FAULTS: dict[str, int | None] = {"409": 409, "429": 429, "500": 500, "time-out": 0, "lost answer": None, "killed": -1}


class Nth:
    """Strikes at one write of the operator, counted from its arming on."""

    def __init__(self, rig: Rig, number: int, fault: str) -> None:
        self.rig, self.left, self.fault, self.struck = rig, number, fault, ""
        self.real = rig.kube.transport
        rig.kube.transport = self.transport  # type: ignore[method-assign]  # a fault is put in

    async def transport(self, verb: str, path: str, query: Any, body: Any) -> tuple[int, bytes, str | None]:
        ours = verb != "GET" and (query or {}).get("fieldManager") == "prescaler"
        self.left -= ours
        if not ours or self.left or self.struck:
            return await self.real(verb, path, query, body)
        self.struck = f"{verb} {path}"
        status = FAULTS[self.fault]
        if status == -1:
            raise KilledError(path)
        if status in {None, 0}:
            if status is None:
                await self.real(verb, path, query, body)
            raise TimeoutError
        return int(status or 0), b'{"message": "injected"}', "1" if status == 429 else None

    def disarm(self) -> None:
        self.rig.kube.transport = self.real  # type: ignore[method-assign]  # and taken out again


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
async def test_every_write_meets_every_fault_and_all_ends_well(rig: Rig, way: str, fault: str) -> None:
    begin, expected = WAYS[way]
    number = 0
    while True:
        number += 1
        await rig.hpa()
        await rig.window()
        rig.restart()
        await rig.tick(QUIET)
        await begin(rig)
        before = (await rig.warnings()).count("WriteFailed")
        nth = Nth(rig, number, fault)
        try:
            await rig.loop.tick()
        except KilledError:
            rig.restart()
        nth.disarm()
        if not nth.struck:
            break
        about_the_work = not nth.struck.startswith("POST") and not nth.struck.endswith("/status")
        carried_out = fault == "lost answer" and "billingwindows" in nth.struck  # the next look finds it done
        if about_the_work and not carried_out and fault in {"429", "500", "time-out", "lost answer"}:
            assert (await rig.warnings()).count("WriteFailed") == before + 1, nth.struck
        await rig.tick()
        await rig.tick()
        assert await rig.minimum() == expected, nth.struck
        if way == "deletion":
            assert (await rig.call("GET", BW))["items"] == [], nth.struck
        else:
            assert (await rig.condition("Ready"))[:2] == ("True", "Applied"), nth.struck
            rig.kube.writes.clear()
            await rig.tick()
            assert rig.kube.writes == [], "and nothing is left to do"
            await rig.delete(BW, "volga")
            await rig.tick()
        await rig.delete("apis/autoscaling/v2 horizontalpodautoscalers", "energy")
    assert number > (2 if way == "deletion" else 3), "there were writes to strike at"
