"""The database judges a batch as the domain does: random meters, zones, earlier readings and several readings of a device."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from energy.domain.checks import CheckPolicy, Meter, doubts_of_next, judge
from energy.domain.reading import NEEDS_CONFIRMATION, Committed, Doubtful, Neighbour, Outcome, Reading
from energy.domain.window import SubmissionWindow, period_of
from energy.ingest.rejudging import Rejudging
from energy.store.ports import BatchStore, Interrupted
from energy.store.postgres.database import Database, PoolLimits, Row
from energy.store.postgres.meters import MeterRow, PostgresMeters
from energy.store.postgres.rejudge import PostgresRejudge
from energy.store.postgres.rows import flags_of
from energy.store.postgres.writer import CorrectionWriter, PostgresWriter
from support.drawn import examples
from support.postgres import TestServer

EXAMPLES = examples(150)
FLAGS = "SELECT reading_id, flags FROM readings WHERE device_id = $1 AND status <> 'superseded'"
ZONES = ["Europe/Samara", "Europe/Moscow", "Asia/Yekaterinburg", "Europe/Berlin", "America/St_Johns"]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RECEIVED = NOW + timedelta(seconds=1)

# Times gather around the edges of windows and months, and repeat, so that ties and boundaries are usual.
_days = st.sampled_from([-400, -31, -30, -20, -10, -6, -5, -1, 0, 1, 6, 7, 10, 11])
_moments = st.builds(
    lambda day, minutes: NOW + timedelta(days=day, minutes=minutes), _days, st.sampled_from([-720, -5, 0, 5, 300, 719])
)
_values = st.one_of(
    st.sampled_from([0, 1, 99, 100, 89_999, 90_000, 99_999, 100_000, 9_999, 10_000, 899, 900]).map(Decimal),
    st.integers(0, 200_000_000).map(lambda n: Decimal(n) / 1000),
)
_meters = st.one_of(
    st.none(),
    st.builds(
        Meter,
        digits=st.integers(2, 6),
        multiplier=st.sampled_from([Decimal(1), Decimal("0.1"), Decimal(40)]),
        zone=st.sampled_from(ZONES).map(ZoneInfo),
        installed_at=st.one_of(st.none(), _moments),
        removed_at=st.one_of(st.none(), _moments),
        decimals=st.integers(0, 3),
    ),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A reading of one of three registers, by a meter or by a person."""

    register: str
    value: Decimal
    read_at: datetime


_sent = st.builds(Sent, st.sampled_from(["T0", "T1"]), _values, _moments)
_some = st.lists(_sent, max_size=4)
_policies = st.builds(
    CheckPolicy,
    window=st.sampled_from([(15, 26), (1, 31), (31, 31), (29, 30), (1, 1)]).map(lambda days: SubmissionWindow(*days)),
    zone=st.sampled_from(ZONES),
    future_tolerance_s=st.sampled_from([0.0, 300.0]),
    spike_kwh_per_day_max=st.sampled_from([500.0, 10.5]),
)


class Ground:
    """A database and a loop that all examples share; every example has devices of its own."""

    def __init__(self, dsn: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.database = Database(dsn, PoolLimits(1, 10, 128))

    def append(self, policy: CheckPolicy, readings: list[Reading]) -> list[Outcome]:
        """Through the product's own writer."""
        ordered = sorted(readings, key=lambda r: (r.device_id, r.reading_id))
        plain = PostgresWriter(self.database, policy, lambda: NOW)
        writer: BatchStore = CorrectionWriter(plain) if any(r.supersedes for r in readings) else plain
        try:
            outcomes = self.loop.run_until_complete(writer.append(ordered, 20))
        except Interrupted:  # a person's reading was refused because of what a neighbour in the batch has changed since
            outcomes = self.loop.run_until_complete(writer.append(ordered, 20))
        of = {r.reading_id: outcome for r, outcome in zip(ordered, outcomes, strict=True)}
        return [of[r.reading_id] for r in readings]

    def rejudge(self, policy: CheckPolicy, readings: list[Reading], outcomes: list[Outcome] | None = None) -> None:
        """Through the product's own pass, until nothing changes."""

        async def settle() -> None:
            rejudging = Rejudging(PostgresRejudge(self.database, policy, 20), asyncio.sleep)
            rejudging.remember(readings, outcomes)
            await rejudging.settle()

        self.loop.run_until_complete(settle())

    def flags(self, device: UUID) -> dict[UUID, tuple[str, ...]]:
        """Those of the device's valid readings, as stored."""

        async def ask() -> list[Row]:
            async with self.database.work(20) as session:
                return await session.fetch(FLAGS, device)

        return {row["reading_id"]: flags_of(row["flags"]) for row in self.loop.run_until_complete(ask())}

    def add(self, device: UUID, meter: Meter) -> None:
        """Makes a meter known, in an account of its own."""
        times = [at.isoformat() if at else "" for at in (meter.installed_at, meter.removed_at)]
        row = MeterRow(
            str(device),
            "",
            str(meter.zone),
            str(device),
            "",
            meter.digits,
            meter.decimals,
            str(meter.multiplier),
            *times,
        )
        self.loop.run_until_complete(PostgresMeters(self.database, 20).upsert([row], ()))


@pytest.fixture(scope="module")
def ground(postgres: TestServer) -> Iterator[Ground]:
    ground = Ground(postgres.migrated())
    yield ground
    ground.loop.run_until_complete(ground.database.close())
    ground.loop.close()


def reading_of(device: UUID, sent: Sent, *, person: bool) -> Reading:
    return Reading(
        device, uuid4(), sent.register, f"{sent.value:.3f}", sent.read_at, RECEIVED, "meter", by_person=person
    )


def previous_of(sent: Sent, others: list[Sent], meter: Meter | None) -> Neighbour | None:
    """The definition: the last of the same register by time and then by value, since the meter was installed."""
    since = meter.installed_at if meter else None
    earlier = [
        other
        for other in others
        if other.register == sent.register
        and (other.read_at, other.value) < (sent.read_at, sent.value)
        and (since is None or other.read_at >= since)
    ]
    last = max(earlier, key=lambda other: (other.read_at, other.value), default=None)
    return Neighbour(last.value, last.read_at) if last else None


def next_of(sent: Sent, others: list[Sent]) -> Neighbour | None:
    later = [
        other
        for other in others
        if other.register == sent.register and (other.read_at, other.value) > (sent.read_at, sent.value)
    ]
    first = min(later, key=lambda other: (other.read_at, other.value), default=None)
    return Neighbour(first.value, first.read_at) if first else None


def flags_among(sent: Sent, others: list[Sent], meter: Meter | None, policy: CheckPolicy) -> tuple[str, ...]:
    return tuple(judge(sent.value, sent.read_at, previous_of(sent, others, meter), meter, policy, NOW))


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(meter=_meters, before=_some, batch=_some, policy=_policies)
def test_flags_and_period_of_a_batch_are_those_of_the_domain(
    ground: Ground, meter: Meter | None, before: list[Sent], batch: list[Sent], policy: CheckPolicy
) -> None:
    device = uuid4()
    if meter:
        ground.add(device, meter)
    ground.append(policy, [reading_of(device, sent, person=False) for sent in before])
    outcomes = ground.append(policy, [reading_of(device, sent, person=False) for sent in batch])
    zone = meter.zone if meter else ZoneInfo(policy.zone)
    for sent, outcome in zip(batch, outcomes, strict=True):
        flags = flags_among(sent, [*before, *batch], meter, policy)
        assert outcome == Committed(period_of(sent.read_at, policy.window, zone), flags)


@settings(max_examples=EXAMPLES // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(meter=_meters, before=_some, sent=_sent, policy=_policies)
def test_a_person_is_asked_exactly_when_the_domain_says_so(
    ground: Ground, meter: Meter | None, before: list[Sent], sent: Sent, policy: CheckPolicy
) -> None:
    device = uuid4()
    if meter:
        ground.add(device, meter)
    ground.append(policy, [reading_of(device, other, person=False) for other in before])
    flags = flags_among(sent, before, meter, policy)
    doubts = doubts_of_next(sent.value, sent.read_at, next_of(sent, before), meter, policy)
    reading = reading_of(device, sent, person=True)
    asked = ground.append(policy, [reading])[0]
    if NEEDS_CONFIRMATION.isdisjoint([*flags, *doubts]):
        assert isinstance(asked, Committed)
        return
    assert isinstance(asked, Doubtful)
    assert asked.flags == (*flags, *doubts)
    assert asked.previous == previous_of(sent, before, meter)
    confirmed = ground.append(policy, [replace(reading, confirmed=True)])[0]
    assert isinstance(confirmed, Committed)
    assert confirmed.flags == flags


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(meter=_meters, arrivals=st.lists(_some, min_size=1, max_size=3), people=st.booleans(), policy=_policies)
def test_flags_in_the_end_do_not_depend_on_the_order_of_arrival(
    ground: Ground, meter: Meter | None, arrivals: list[list[Sent]], policy: CheckPolicy, *, people: bool
) -> None:
    """Later, earlier, at the same moment, in one batch, and beside readings that a person was asked about."""
    device = uuid4()
    if meter:
        ground.add(device, meter)
    stored: dict[UUID, Sent] = {}
    for batch in arrivals:
        readings = [reading_of(device, sent, person=people and n % 2 == 1) for n, sent in enumerate(batch)]
        outcomes = ground.append(policy, readings)
        for reading, sent, outcome in zip(readings, batch, outcomes, strict=True):
            if isinstance(outcome, Committed):
                stored[reading.reading_id] = sent
        ground.rejudge(policy, readings, outcomes)
    assert ground.flags(device) == {
        reading_id: flags_among(sent, list(stored.values()), meter, policy) for reading_id, sent in stored.items()
    }


def test_a_reading_that_is_refused_is_compared_with_by_nobody(ground: Ground) -> None:
    device, policy = uuid4(), CheckPolicy(SubmissionWindow(1, 31), "Europe/Samara", 300, 500)
    first, refused, later = (
        Sent("T0", Decimal(v), NOW + timedelta(days=d)) for v, d in [(1000, -3), (100_000, -2), (1010, -1)]
    )
    ground.append(policy, [reading_of(device, first, person=False)])
    outcomes = ground.append(
        policy, [reading_of(device, refused, person=True), reading_of(device, later, person=False)]
    )
    assert isinstance(outcomes[0], Doubtful)
    assert isinstance(outcomes[1], Committed)
    assert outcomes[1].flags == ("unmatched",)


def test_a_corrected_value_is_compared_with_by_nobody_any_more(ground: Ground) -> None:
    device, policy = uuid4(), CheckPolicy(SubmissionWindow(1, 31), "Europe/Samara", 300, 500)
    wrong = reading_of(device, Sent("T0", Decimal(90_000), NOW - timedelta(days=2)), person=False)
    later = reading_of(device, Sent("T0", Decimal(9_100), NOW - timedelta(days=1)), person=False)
    right = replace(wrong, reading_id=uuid4(), value="9000", supersedes=wrong.reading_id)
    for batch in ([wrong], [later], [right]):
        ground.append(policy, batch)
        ground.rejudge(policy, batch)
    assert ground.flags(device)[later.reading_id] == ("unmatched",)
