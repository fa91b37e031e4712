"""Look-ups are shared, bounded, and answered from memory while the database is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from energy.ingest.lookup import AWAY_S, Lookup, LookupLimits
from energy.logs import Seldom
from energy.store.ports import StoreError, Unavailable

LIMITS = LookupLimits(ttl_s=30, timeout_s=0.2, known_max=100, absent_max=10, waiting_max=50, query_max=20)


class Asked:
    """What the database is asked, and how it answers."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.queries: list[list[str]] = []
        self.gate: asyncio.Event | None = None
        self.away = False
        self.present = {f"key-{number}" for number in range(200)}

    def clock(self) -> float:
        return self.now

    async def ask(self, keys: Sequence[str], _timeout_s: float) -> dict[str, str]:
        self.queries.append(list(keys))
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise Unavailable("no connection", "connection")
        return {key: key.upper() for key in keys if key in self.present}

    def lookup(self, limits: LookupLimits = LIMITS) -> Lookup[str, str]:
        return Lookup("keys", self.ask, limits, self.clock)


async def test_many_who_ask_for_one_key_at_once_cost_one_query() -> None:
    asked = Asked()
    lookup = asked.lookup()
    answers = await asyncio.gather(*(lookup.get(["key-1"]) for _ in range(40)))
    assert answers == [{"key-1": "KEY-1"}] * 40
    assert asked.queries == [["key-1"]]


async def test_who_comes_while_a_query_is_out_shares_the_next_one() -> None:
    asked = Asked()
    asked.gate = asyncio.Event()
    lookup = asked.lookup()
    first = asyncio.create_task(lookup.get(["key-0"]))
    await asyncio.sleep(0)
    others = [asyncio.create_task(lookup.get([f"key-{number}"])) for number in range(1, 31)]
    await asyncio.sleep(0)
    asked.gate.set()
    await asyncio.gather(first, *others)
    assert [len(query) for query in asked.queries] == [1, 20, 10]


async def test_what_is_known_is_not_asked_again_before_its_time() -> None:
    asked = Asked()
    lookup = asked.lookup()
    await lookup.get(["key-1", "nobody"])
    asked.now += LIMITS.ttl_s - 1
    assert await lookup.get(["key-1", "nobody"]) == {"key-1": "KEY-1"}
    assert len(asked.queries) == 1
    asked.now += 2
    await lookup.get(["key-1"])
    assert len(asked.queries) == 2


async def test_nothing_need_be_remembered() -> None:
    asked = Asked()
    lookup = asked.lookup(LookupLimits(ttl_s=0, timeout_s=0.2))
    assert await lookup.get(["key-1"]) == await lookup.get(["key-1"]) == {"key-1": "KEY-1"}
    assert len(asked.queries) == 2


async def test_a_mute_database_costs_a_look_up_its_time_and_no_more() -> None:
    asked = Asked()
    asked.gate = asyncio.Event()
    lookup = asked.lookup()
    began = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(lookup.get([f"key-{n}"]) for n in range(40)), return_exceptions=True)
    assert all(isinstance(answer, StoreError) for answer in answers)
    assert asyncio.get_running_loop().time() - began < 5 * LIMITS.timeout_s


async def test_beyond_the_limit_nobody_waits() -> None:
    asked = Asked()
    asked.gate = asyncio.Event()
    lookup = asked.lookup()
    waiting = [asyncio.create_task(lookup.get([f"key-{n}"])) for n in range(LIMITS.waiting_max)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await lookup.get(["key-199"])
    asked.gate.set()
    await asyncio.gather(*waiting)


async def test_while_the_database_is_away_what_was_known_still_counts() -> None:
    asked = Asked()
    lookup = asked.lookup()
    await lookup.get(["key-1"])
    asked.now += LIMITS.ttl_s + 1
    asked.away = True
    assert await lookup.get(["key-1"]) == {"key-1": "KEY-1"}
    queries = len(asked.queries)
    assert await lookup.get(["key-1"]) == {"key-1": "KEY-1"}
    assert len(asked.queries) == queries, "whoever comes right after does not ask in vain again"
    with pytest.raises(Unavailable):
        await lookup.get(["key-2"])
    asked.now += LIMITS.stale_max_s
    with pytest.raises(Unavailable):
        await lookup.get(["key-1"])


async def test_a_revoked_key_is_known_as_such_when_the_database_is_back() -> None:
    asked = Asked()
    lookup = asked.lookup()
    await lookup.get(["key-1"])
    asked.now += LIMITS.ttl_s + 1
    asked.away = True
    await lookup.get(["key-1"])
    asked.away, asked.present = False, set()
    asked.now += AWAY_S + 0.1
    assert await lookup.get(["key-1"]) == {}


async def test_invented_keys_push_out_none_that_exist() -> None:
    asked = Asked()
    lookup = asked.lookup()
    await lookup.get(["key-1"])
    for number in range(500):
        assert await lookup.get([f"invented-{number}"]) == {}
    assert lookup.remembered("key-1") == "KEY-1"
    assert len(lookup._absent) <= LIMITS.absent_max


def test_a_warning_that_would_come_a_thousand_times_comes_once_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    seldom = Seldom(logging.getLogger("seldom"), 10, lambda: now[0])
    for _ in range(1_000):
        seldom.warning("timeout", "a batch of %d could not be committed", 5)
    seldom.warning("privilege", "another cause")
    now[0] = 11
    seldom.warning("timeout", "a batch of %d could not be committed", 6)
    assert [record.getMessage() for record in caplog.records] == [
        "a batch of 5 could not be committed",
        "another cause",
        "a batch of 6 could not be committed (and 999 more like it)",
    ]
