"""Small parts of the API by themselves: rates, cursors, bodies, numbers, keys."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy.domain.reading import VALUE_MAX, Stored, Undecided
from energy.http.auth import RateLimit, key_from_token, new_key
from energy.http.responses import jittered
from energy.wire.answers import least_certain, plain
from energy.wire.bodies import decimal_text
from energy.wire.cursors import cursor_after, place_of
from energy.wire.problems import KINDS, Problem
from unit.energy.fakes import PERIOD, unpacked

LIMIT = 1000


@given(st.floats(0.5, 1000), st.integers(1, 50), st.lists(st.floats(0, 0.5), max_size=200))
def test_no_rate_limit_lets_more_through_than_burst_and_rate(rate: float, burst: int, gaps: list[float]) -> None:
    limit, now, passed = RateLimit(rate, burst), 0.0, 0
    for gap in gaps:
        now += gap
        wait_s = limit.take(now)
        passed += wait_s == 0
        if wait_s > 0:  # who waits as told gets through, who comes earlier does not
            assert RateLimit(rate, burst, limit._free_at).take(now + wait_s * 0.99) > 0
            assert RateLimit(rate, burst, limit._free_at).take(now + wait_s + 1e-6) == 0
    assert passed <= burst + rate * now + 1e-6


def test_a_quiet_key_may_burst_again() -> None:
    limit = RateLimit(10, 5)
    assert [limit.take(0.0) == 0 for _ in range(6)] == [True] * 5 + [False]
    assert [limit.take(10.0) == 0 for _ in range(6)] == [True] * 5 + [False]


def test_rate_zero_is_no_limit() -> None:
    limit = RateLimit(0, 1)
    assert all(limit.take(0.0) == 0 for _ in range(1000))


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)), st.uuids(), st.uuids())  # noqa: DTZ001 - hypothesis adds the zone
def test_a_cursor_points_where_it_was_made(at: datetime, device_id: UUID, reading_id: UUID) -> None:
    stored = Stored(device_id, reading_id, "T0", Decimal(1), at, at, PERIOD, "meter", "accepted", (), None, "")
    cursor = cursor_after(stored)
    assert place_of(cursor) == (at, device_id, reading_id)
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=60))
def test_no_other_text_is_a_cursor(text: str) -> None:
    with pytest.raises(Problem) as refused:
        place_of(text)
    assert refused.value.status == 400


@given(st.binary(max_size=LIMIT))
def test_what_was_zipped_comes_out(body: bytes) -> None:
    assert asyncio.run(unpacked(gzip.compress(body), bytes_max=LIMIT)) == body
    assert asyncio.run(unpacked(body, encoding=None, bytes_max=LIMIT)) == body


def test_a_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    with pytest.raises(Problem) as refused:
        asyncio.run(unpacked(bomb, bytes_max=LIMIT))
    assert refused.value.status == 413


@given(st.binary(max_size=LIMIT))
def test_no_other_bytes_are_gzip(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        asyncio.run(unpacked(body, bytes_max=LIMIT))
    assert refused.value.status == 400


@given(st.decimals(0, VALUE_MAX, places=3))
def test_every_value_in_range_is_kept_to_the_wh(value: Decimal) -> None:
    assert Decimal(decimal_text(f"{value:f}")) == value


@given(st.one_of(st.floats(allow_nan=False), st.integers(), st.text(max_size=40)))
def test_any_other_value_is_refused_and_never_changed(value: float | str) -> None:
    try:
        text = decimal_text(value)
    except Problem as problem:
        assert problem.status == 422  # noqa: PT017 - either is right, for different values
        return
    assert Decimal(text) == Decimal(value if isinstance(value, str) else repr(value))
    assert 0 <= Decimal(text) <= VALUE_MAX


@pytest.mark.parametrize("token", ["", "a", "a.b", ".0123456789abcdef", "id.short", "ключ.0123456789abcdef"])
def test_a_weak_key_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        key_from_token(token, frozenset({"admin"}), None, None, None)


def test_the_secret_is_not_in_what_is_stored_and_no_two_are_alike() -> None:
    made = [new_key(frozenset({"ingest"}), None, None, None) for _ in range(100)]
    assert len({token for token, _ in made}) == 100
    for token, key in made:
        assert token.split(".", 1)[1].encode() not in key.secret_sha256
        assert token.startswith(key.key_id + ".")


def test_clients_that_are_refused_together_do_not_come_back_together() -> None:
    waits = [jittered(3) for _ in range(200)]
    assert set(waits) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("code", KINDS)
def test_every_problem_is_an_error_with_a_stable_type(code: str) -> None:
    document = Problem(code, "detail").document()
    assert 400 <= KINDS[code].status <= 503
    assert str(document["type"]).endswith("/" + code.replace("_", "-"))


@pytest.mark.parametrize(
    ("value", "text"), [("10432.500", "10432.5"), ("100.000", "100"), ("100", "100"), ("0.000", "0")]
)
def test_values_are_told_as_people_write_them(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text


@pytest.mark.parametrize("first", [True, False])
def test_a_batch_is_not_called_unstored_when_one_of_it_may_be_stored(*, first: bool) -> None:
    outcomes = [Undecided(maybe_stored=first), Undecided(maybe_stored=not first)]
    assert least_certain(outcomes) == Undecided(maybe_stored=True)
