"""The count that decides whether a reading was lost, checked by putting each fault in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from loadtest import ledger, verdict

RUN = "0badcafe"
LINES = """\
1000 r 0 0 1 201 3.5
1010 r 0 1 1 503 0.4
1900 r 0 1 1 201 5.0
1950 r 0 2 1 422 2.0
2000 r 0 3 1 503 0.4
2100 r 0 4 1 0 60000.0
2200 r 2 10 5 201 40.0
2300 h 0 0 1 200 4.0
2400 r 0 0 1 200 1.0
"""
ACKNOWLEDGED = [(0, 0), (0, 1), *((2, n) for n in range(10, 15))]


def code(space: int, number: int) -> int:
    return space << ledger.NUMBER_BITS | number


@pytest.fixture
def claims(tmp_path: Path) -> ledger.Claims:
    (tmp_path / "ledger.log").write_text(LINES)
    return ledger.claims(ledger.read(tmp_path / "ledger.log"))


def judged(claims: ledger.Claims, rows: list[tuple[int, int]]) -> verdict.Verdict:
    return verdict.judge(claims, verdict.Stored(Counter(code(*row) for row in rows), flagged=0))


def test_a_reading_counts_once_however_often_it_was_sent(claims: ledger.Claims) -> None:
    assert (claims.sent, len(claims.acknowledged), len(claims.shed), len(claims.refused), len(claims.failed)) == (
        10,
        7,
        1,
        1,
        1,
    )


def test_what_was_acknowledged_and_is_there_is_sound(claims: ledger.Claims) -> None:
    assert judged(claims, ACKNOWLEDGED).sound


@pytest.mark.parametrize(
    ("rows", "lost", "duplicated", "stored_though_refused", "unacknowledged"),
    [
        pytest.param(ACKNOWLEDGED[1:], 1, 0, 0, 0, id="an acknowledged reading is gone"),
        pytest.param(ACKNOWLEDGED[:-1], 1, 0, 0, 0, id="one reading of a batch is gone"),
        pytest.param([*ACKNOWLEDGED, (0, 0)], 0, 1, 0, 0, id="a reading is there twice"),
        pytest.param([*ACKNOWLEDGED, (0, 2)], 0, 0, 1, 0, id="a refused reading is there"),
    ],
)
def test_every_fault_is_counted(
    claims: ledger.Claims,
    rows: list[tuple[int, int]],
    lost: int,
    duplicated: int,
    stored_though_refused: int,
    unacknowledged: int,
) -> None:
    found = judged(claims, rows)
    seen = (found.lost, found.duplicated, found.stored_though_refused, found.stored_unacknowledged)
    assert (seen, found.sound) == ((lost, duplicated, stored_though_refused, unacknowledged), False)


def test_a_reading_whose_answer_never_came_may_be_stored_or_not(claims: ledger.Claims) -> None:
    found = judged(claims, [*ACKNOWLEDGED, (0, 4)])
    assert (found.sound, found.stored_unacknowledged) == (True, 1)


def test_without_a_count_or_without_acknowledgements_nobody_can_tell(claims: ledger.Claims, tmp_path: Path) -> None:
    nothing = ledger.claims(ledger.read(tmp_path / "there is none.log"))
    assert verdict.judge(claims, None).sound is None
    assert judged(nothing, []).sound is None


def test_a_line_that_was_cut_off_is_left_out_and_reported(tmp_path: Path) -> None:
    (tmp_path / "ledger.log").write_text(LINES + "2500 r 0 77 1 20")
    record = ledger.read(tmp_path / "ledger.log")
    assert (len(record.lines), record.cut_off) == (9, True)


@pytest.mark.parametrize(("space", "number"), [(0, 0), (2, 5_000_000), (0xFFFF, (1 << 48) - 1)])
def test_the_id_of_a_number_leads_back_to_it(space: int, number: int) -> None:
    identifier = UUID(f"{RUN}-{space:04x}-4000-8000-{number:012x}")
    first, last = ledger.id_range(RUN)
    assert ledger.code_of(identifier) == code(space, number)
    assert first <= identifier <= last


def test_seconds_count_answers_where_they_came_and_requests_where_they_left(tmp_path: Path) -> None:
    (tmp_path / "ledger.log").write_text("0 r 0 0 1 201 1500\n100 r 0 1 1 201 10\n")
    table = ledger.seconds(ledger.read(tmp_path / "ledger.log"))
    assert (list(table["acknowledged"]), list(table["offered"])) == ([1, 1], [2, 0])
