"""The database judges a batch as the domain does: random meters, zones, earlier readings and several readings of a device."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy.domain.checks import CheckPolicy, Meter, judge
from energy.domain.reading import NEEDS_CONFIRMATION, Committed, Doubtful, Outcome, Previous, Reading
from energy.domain.window import SubmissionWindow, period_of
from energy.store.postgres.database import Database, PoolLimits
from energy.store.postgres.meters import MeterRow, PostgresMeters
from energy.store.postgres.writer import PostgresWriter
from support.drawn import examples
from support.postgres import TestServer

EXAMPLES = examples(150)
ZONES = ["Europe/Samara", "Europe/Moscow", "Asia/Yekaterinburg", "Europe/Berlin", "America/St_Johns"]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

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
    ),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A reading of one of three registers, by a meter or by a person."""

    register: str
    value: Decimal
    read_at: datetime


_sent = st.builds(Sent, st.sampled_from(["T0", "T1"]), _values, _moments)
_one_a_time = st.lists(_sent, max_size=4, unique_by=lambda sent: (sent.register, sent.read_at))
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
        outcomes = self.loop.run_until_complete(PostgresWriter(self.database, policy, lambda: NOW).append(ordered, 20))
        of = {r.reading_id: outcome for r, outcome in zip(ordered, outcomes, strict=True)}
        return [of[r.reading_id] for r in readings]

    def add(self, device: UUID, meter: Meter) -> None:
        """Makes a meter known, in an account of its own."""
        times = [at.isoformat() if at else "" for at in (meter.installed_at, meter.removed_at)]
        row = MeterRow(
            str(device), "", str(meter.zone), str(device), "", meter.digits, 3, str(meter.multiplier), *times
        )
        self.loop.run_until_complete(PostgresMeters(self.database, 20).upsert([row], ()))


@pytest.fixture(scope="module")
def ground(postgres: TestServer) -> Iterator[Ground]:
    ground = Ground(postgres.migrated())
    yield ground
    ground.loop.run_until_complete(ground.database.close())
    ground.loop.close()


def reading_of(device: UUID, sent: Sent, *, person: bool) -> Reading:
    return Reading(device, uuid4(), sent.register, f"{sent.value:.3f}", sent.read_at, NOW, "meter", by_person=person)


def previous_of(sent: Sent, others: list[Sent], meter: Meter | None) -> Previous | None:
    """The definition: the latest of the same register strictly before it, since the meter was installed."""
    since = meter.installed_at if meter else None
    earlier = [
        other
        for other in others
        if other.register == sent.register
        and other.read_at < sent.read_at
        and (since is None or other.read_at >= since)
    ]
    latest = max(earlier, key=lambda other: other.read_at, default=None)
    return Previous(latest.value, latest.read_at) if latest else None


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(meter=_meters, before=_one_a_time, batch=_one_a_time, policy=_policies)
def test_flags_and_period_of_a_batch_are_those_of_the_domain(
    ground: Ground, meter: Meter | None, before: list[Sent], batch: list[Sent], policy: CheckPolicy
) -> None:
    device = uuid4()
    if meter:
        ground.add(device, meter)
    taken = {(sent.register, sent.read_at) for sent in before}
    batch = [sent for sent in batch if (sent.register, sent.read_at) not in taken]
    ground.append(policy, [reading_of(device, sent, person=False) for sent in before])
    outcomes = ground.append(policy, [reading_of(device, sent, person=False) for sent in batch])
    zone = meter.zone if meter else ZoneInfo(policy.zone)
    for sent, outcome in zip(batch, outcomes, strict=True):
        flags = judge(sent.value, sent.read_at, previous_of(sent, [*before, *batch], meter), meter, policy, NOW)
        assert outcome == Committed(period_of(sent.read_at, policy.window, zone), tuple(flags))


@settings(max_examples=EXAMPLES // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(meter=_meters, before=_one_a_time, sent=_sent, policy=_policies)
def test_a_person_is_asked_exactly_when_the_domain_says_so(
    ground: Ground, meter: Meter | None, before: list[Sent], sent: Sent, policy: CheckPolicy
) -> None:
    device = uuid4()
    if meter:
        ground.add(device, meter)
    ground.append(policy, [reading_of(device, earlier, person=False) for earlier in before])
    previous = previous_of(sent, before, meter)
    flags = tuple(judge(sent.value, sent.read_at, previous, meter, policy, NOW))
    reading = reading_of(device, sent, person=True)
    asked = ground.append(policy, [reading])[0]
    if NEEDS_CONFIRMATION.isdisjoint(flags):
        assert isinstance(asked, Committed)
        return
    assert asked == Doubtful(flags, previous)
    confirmed = ground.append(policy, [replace(reading, confirmed=True)])[0]
    assert isinstance(confirmed, Committed)
    assert confirmed.flags == flags
