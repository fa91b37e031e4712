"""The checker finds every broken promise: in histories made by hand, and in a service that breaks one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from fault import mutants, rounds
from fault.checker import Row, judge
from fault.history import Answer, Event, Fault, Heard, History, Intent, Sent, events_in
from fault.rounds import Machine

DEVICE, ID, OTHER_ID = UUID(int=1), UUID(int=2), UUID(int=3)
AT = datetime(2026, 11, 20, tzinfo=UTC)
INTENT = Intent(7, "/v1/readings", DEVICE, reading_id=ID, read_at=AT)
WITHOUT_KEY = Intent(7, "/v1/values", DEVICE)
ROW = Row(DEVICE, ID, Decimal(7), AT)
ACK = Answer(7, Heard.ACKNOWLEDGED, ID)
REFUSAL, SILENCE = Answer(7, Heard.REFUSED), Answer(7, Heard.UNKNOWN)


@pytest.mark.parametrize(
    ("events", "rows", "broken"),
    [
        pytest.param([INTENT, Sent(7), ACK], [ROW], {}, id="acknowledged and there"),
        pytest.param([INTENT, Sent(7), ACK, Sent(7), ACK], [ROW], {}, id="sent twice and there once"),
        pytest.param([INTENT, Sent(7), SILENCE], [], {}, id="unanswered and not there"),
        pytest.param([INTENT, Sent(7)], [ROW], {}, id="unanswered and there"),
        pytest.param([INTENT, Sent(7), REFUSAL], [], {}, id="refused and not there"),
        pytest.param([INTENT, Sent(7), REFUSAL, Sent(7), ACK], [ROW], {}, id="refused, then acknowledged"),
        pytest.param([INTENT, Sent(7), ACK], [], {"lost": 1}, id="acknowledged and not there"),
        pytest.param([INTENT, Sent(7), SILENCE, Sent(7), ACK], [], {"lost": 1}, id="acknowledged later and not there"),
        pytest.param(
            [WITHOUT_KEY, Sent(7), ACK], [replace(ROW, reading_id=OTHER_ID)], {"lost": 1}, id="there under another id"
        ),
        pytest.param(
            [INTENT, Sent(7), ACK],
            [ROW, replace(ROW, reading_id=OTHER_ID)],
            {"duplicated": 1},
            id="there twice with a key",
        ),
        pytest.param(
            [WITHOUT_KEY, Sent(7), ACK],
            [ROW, replace(ROW, reading_id=OTHER_ID)],
            {"duplicated": 1},
            id="sent once, there twice",
        ),
        pytest.param(
            [WITHOUT_KEY, Sent(7), SILENCE, Sent(7), ACK],
            [ROW, replace(ROW, reading_id=OTHER_ID)],
            {},
            id="at least once",
        ),
        pytest.param([], [ROW], {"unexpected": 1}, id="nobody sent it"),
        pytest.param(
            [INTENT, Sent(7), REFUSAL], [ROW], {"stored_though_refused": 1}, id="refused and there all the same"
        ),
        pytest.param([INTENT, Sent(7), ACK], [replace(ROW, value=Decimal(8))], {"corrupt": 1}, id="another value"),
        pytest.param([INTENT, Sent(7), ACK], [replace(ROW, device_id=OTHER_ID)], {"corrupt": 1}, id="another device"),
        pytest.param(
            [INTENT, Sent(7), ACK], [replace(ROW, read_at=AT.replace(hour=1))], {"corrupt": 1}, id="another time"
        ),
    ],
)
def test_the_checker_tells_sound_histories_from_broken_ones(
    events: Sequence[Event], rows: Sequence[Row], broken: dict[str, int], tmp_path: Path
) -> None:
    history = History(tmp_path / "history.jsonl")
    for event in [Fault("a fault"), *events]:
        history.add(event)
    history.close()
    assert judge(events_in(history.path), rows).broken == broken


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        pytest.param([Fault("kill"), INTENT, Sent(7), ACK], "passed", id="a fault and an acknowledgement"),
        pytest.param([INTENT, Sent(7), ACK], "unknown", id="no fault"),
        pytest.param([Fault("kill"), INTENT, Sent(7)], "unknown", id="no acknowledgement"),
    ],
)
def test_a_run_that_proves_nothing_is_no_pass(events: Sequence[Event], outcome: str) -> None:
    assert judge(events, [ROW]).outcome == outcome


@pytest.mark.parametrize(
    ("mutation", "fault", "broken"),
    [
        pytest.param(
            mutants.acknowledges_before_commit, rounds.postgres_killed, "lost", id="acknowledges before COMMIT"
        ),
        pytest.param(mutants.forgets_ids, rounds.backend_killed, "duplicated", id="forgets ids"),
        pytest.param(
            mutants.acknowledges_the_unknown,
            rounds.postgres_killed_for_long,
            "lost",
            id="acknowledges unknown outcomes",
        ),
    ],
)
async def test_a_round_catches_a_service_that_breaks_a_promise(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mutation: Callable[[], None],
    fault: rounds.Fault,
    broken: str,
) -> None:
    monkeypatch.setattr("support.service.PROGRAM", mutants.program_of(mutation, tmp_path))
    machine.begin()
    verdict = await rounds.play(machine, fault, seed=7)
    assert verdict.outcome == "failed"
    assert broken in verdict.broken, verdict.broken


async def test_a_round_without_a_fault_is_clean_and_proves_nothing(machine: Machine) -> None:
    machine.begin()
    verdict = await rounds.play(machine, None, seed=1)
    assert (verdict.outcome, verdict.broken, verdict.unknown) == ("unknown", {}, 0), verdict
    assert verdict.acknowledged > rounds.RATE_PER_S * rounds.LOAD_S / 2
