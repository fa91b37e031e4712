"""Judges a history of the intake: which of its promises were broken, and by what.

Pure: a history in, sentences out. Each promise is one function with a name that a test can ask for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from energy.domain.reading import Committed, Conflicting, Doubtful, Reading, Undecided, Unstorable, same_content
from energy.store.ports import NotAll
from simulation.history import ATOMIC, SINGLE, History, Sent
from simulation.world import POISONED, Attempt, Defect, id_of

CLOCK_S = 1e-6
"""What adding up times may be off by."""


def no_answer_before_its_commit(history: History) -> Iterator[str]:
    """An acknowledged reading was in the database, with that content, before its answer."""
    for sent in history.sent:
        if not sent.failures and any(isinstance(outcome, Committed) for outcome in sent.outcomes):
            row = history.database.rows.get(id_of(sent.reading))
            if row is None:
                yield f"acknowledged and not stored: {sent}"
            elif sent.heard is None or row.step > sent.heard:
                yield f"acknowledged before it was stored (step {row.step}): {sent}"
            elif not same_content(sent.reading, row.stored):
                yield f"acknowledged, and something else is stored: {sent}"


def one_outcome_per_reading(history: History) -> Iterator[str]:
    """Whoever was taken in and did not hang up hears one thing, once; whoever was refused hears nothing more."""
    for sent in history.sent:
        heard = len(sent.outcomes) + len([error for error in sent.failures if not isinstance(error, NotAll)])
        due = 0 if sent.refused or sent.hung_up else 1
        if heard != due:
            yield f"{heard} outcomes and not {due}: {sent}"
        for error in sent.failures:
            if not isinstance(error, Defect | NotAll):
                yield f"a client hears of an error of ours: {error!r}: {sent}"


def outcomes_are_true(history: History) -> Iterator[str]:
    """What is said of a reading is so, and of that reading."""
    attempts_with = _attempts_by_reading(history)
    for sent in history.sent:
        for outcome in sent.outcomes:
            if not _is_true(outcome, sent, attempts_with.get(id(sent.reading), []), history):
                yield f"not true: {sent}"


def a_reading_is_stored_by_one_request(history: History) -> Iterator[str]:
    """Of all that repeat an id, one at most hears that it stored it."""
    fresh = defaultdict[object, int](int)
    for sent in history.sent:
        if not sent.failures:
            fresh[id_of(sent.reading)] += sum(isinstance(o, Committed) and not o.replayed for o in sent.outcomes)
    for key, count in fresh.items():
        if count > 1:
            yield f"{count} requests hear that they stored {key}"


def the_store_gets_each_id_once_and_in_order(history: History) -> Iterator[str]:
    """Within a batch no id occurs twice, and rows are in the key's order, so that two batches can't deadlock."""
    for attempt in history.database.attempts:
        ids = [id_of(reading) for reading in attempt.readings]
        if ids != sorted(set(ids)):
            yield f"repeated or unsorted: {ids}"


def no_more_writes_than_lanes(history: History) -> Iterator[str]:
    """With one lane two writes are never in flight: that is what /v2/values promises."""
    under_way: list[Attempt] = []
    for attempt in _of(SINGLE, history):
        under_way = [other for other in under_way if other.ended is None or other.ended > attempt.began]
        under_way.append(attempt)
        if len(under_way) > history.limits.lanes:
            yield f"{len(under_way)} writes at once: {attempt}"


def a_near_database_gets_one_write_at_a_time(history: History) -> Iterator[str]:
    """Where a commit waits for nothing, what comes meanwhile is one batch and not several."""
    under_way: list[Attempt] = []
    for attempt in _of(SINGLE, history) if history.database.near else []:
        under_way = [other for other in under_way if other.ended is None or other.ended > attempt.began]
        if under_way and len(history.sent) < history.limits.batch_rows_max:
            yield f"while another lane writes: {attempt}"
        under_way.append(attempt)


def a_device_is_in_one_write_at_a_time(history: History) -> Iterator[str]:
    """Two lanes never write readings of one device at once: each is compared with the one before it."""
    under_way: list[Attempt] = []
    for attempt in _of(SINGLE, history):
        under_way = [other for other in under_way if other.ended is None or other.ended > attempt.began]
        devices = {reading.device_id for reading in attempt.readings}
        if any(reading.device_id in devices for other in under_way for reading in other.readings):
            yield f"while another lane writes the same device: {attempt}"
        under_way.append(attempt)


def first_come_first_written(history: History) -> Iterator[str]:
    """A reading is first tried no later than one of the same device that came after it; with one lane, of any device."""
    first = _first_attempts(history)
    last_of: dict[object, tuple[int, Sent]] = {}
    for sent in history.sent:
        tried = first.get(id(sent.reading))
        if sent.way != SINGLE or tried is None:
            continue
        order = "all" if history.limits.lanes == 1 else sent.reading.device_id
        if order in last_of and tried.began < last_of[order][0]:
            yield f"{sent} was tried before the earlier {last_of[order][1]}"
        last_of[order] = (tried.began, sent)


def waits_are_bounded(history: History) -> Iterator[str]:
    """An answer comes within the deadline, whatever the database does."""
    bound_s = history.limits.deadline_s + history.limits.linger_s + CLOCK_S
    for sent in history.sent:
        if sent.heard_s is not None and sent.heard_s - sent.at_s > bound_s:
            yield f"{sent.heard_s - sent.at_s:.3f} s: {sent}"


def an_idle_lane_takes_what_comes(history: History) -> Iterator[str]:
    """What comes when nothing waits and nothing is being written is tried at once."""
    first = _first_attempts(history)
    answered = 0
    for sent in history.sent:
        if sent.way != SINGLE or sent.refused:
            continue
        tried = first.get(id(sent.reading))
        if answered < sent.step and tried is not None and tried.began_s - sent.at_s > history.limits.linger_s + CLOCK_S:
            yield f"waited {tried.began_s - sent.at_s:.3f} s for nobody: {sent}"
        answered = max(answered, history.drained or 0 if sent.heard is None else sent.heard)


def nothing_is_forgotten_at_the_drain(history: History) -> Iterator[str]:
    """When the drain is over, all that was taken in has been heard of, nothing is in flight, and it took one deadline."""
    if history.stuck or history.drained is None:
        yield "waits for ever"
        return
    for error in history.broken_lanes:
        yield f"a lane died: {error!r}"
    for sent in history.sent:
        if sent.way == SINGLE and not sent.refused and not sent.hung_up and sent.heard is None:
            yield f"never heard of: {sent}"
        if sent.way == SINGLE and sent.step > (history.drain or 0) and sent.refused != "draining":
            yield f"taken in while draining: {sent}"
    for attempt in _of(SINGLE, history):
        if attempt.ended is None or attempt.ended > history.drained:
            yield f"in flight after the drain: {attempt}"
    if history.drained_s - history.drain_s > history.limits.deadline_s + history.limits.linger_s + CLOCK_S:
        yield f"the drain took {history.drained_s - history.drain_s:.3f} s"


def the_queue_is_bounded(history: History) -> Iterator[str]:
    """Never more rows than allowed; a refusal has its reason, and what was refused is not tried."""
    if history.rows_max > history.limits.rows_max:
        yield f"{history.rows_max} rows waited"
    first = _first_attempts(history)
    for sent in history.sent:
        if sent.refused and id(sent.reading) in first:
            yield f"refused and tried: {sent}"
        full = sent.refused_at_rows >= history.limits.rows_max
        early = sent.refused == "draining" and sent.step < (history.drain or 0)
        if (
            early
            or (sent.refused == "queue_full" and not full)
            or (sent.refused == "queue_old" and not sent.refused_at_rows)
        ):
            yield f"refused for no reason: {sent}"


def an_atomic_batch_is_stored_whole_or_not(history: History) -> Iterator[str]:
    """One that was refused stored nothing; else nothing of it was refused."""
    attempts_with = _attempts_by_reading(history)
    for sent in history.sent:
        if sent.way != ATOMIC:
            continue
        refused = any(isinstance(error, NotAll) for error in sent.failures)
        if refused and any(
            id_of(sent.reading) in attempt.stored for attempt in attempts_with.get(id(sent.reading), [])
        ):
            yield f"refused as a whole, and stored: {sent}"
        if not refused and any(not isinstance(outcome, Committed | Undecided) for outcome in sent.outcomes):
            yield f"not refused as a whole: {sent}"


PROMISES: tuple[Callable[[History], Iterator[str]], ...] = (
    no_answer_before_its_commit,
    one_outcome_per_reading,
    outcomes_are_true,
    a_reading_is_stored_by_one_request,
    the_store_gets_each_id_once_and_in_order,
    no_more_writes_than_lanes,
    a_near_database_gets_one_write_at_a_time,
    a_device_is_in_one_write_at_a_time,
    first_come_first_written,
    waits_are_bounded,
    an_idle_lane_takes_what_comes,
    nothing_is_forgotten_at_the_drain,
    the_queue_is_bounded,
    an_atomic_batch_is_stored_whole_or_not,
)


def broken(history: History) -> dict[str, list[str]]:
    """The promises that were broken, with what shows it."""
    found = {promise.__name__: list(promise(history)) for promise in PROMISES}
    return {name: findings for name, findings in found.items() if findings}


def _is_true(outcome: object, sent: Sent, attempts: list[Attempt], history: History) -> bool:
    reading = sent.reading
    row = history.database.rows.get(id_of(reading))
    match outcome:
        case Conflicting(stored):
            return row is not None and stored.reading_id == reading.reading_id and not same_content(reading, stored)
        case Doubtful():
            return reading.source == "doubtful"
        case Unstorable():
            # Of an atomic batch that was refused each reading may hear what is wrong with another one.
            return bool(sent.failures) or reading.source == POISONED or _has_two_contents(reading, history)
        case Undecided(maybe_stored=False):
            return not any(id_of(reading) in attempt.stored for attempt in attempts)
        case _:
            return True


def _has_two_contents(reading: Reading, history: History) -> bool:
    return any(
        id_of(other.reading) == id_of(reading) and other.reading.value != reading.value for other in history.sent
    )


def _of(queue: str, history: History) -> list[Attempt]:
    return [attempt for attempt in history.database.attempts if attempt.queue == queue]


def _attempts_by_reading(history: History) -> dict[int, list[Attempt]]:
    """By the object: a repeat that was folded into an earlier one has none."""
    attempts: defaultdict[int, list[Attempt]] = defaultdict(list)
    for attempt in history.database.attempts:
        for reading in attempt.readings:
            attempts[id(reading)].append(attempt)
    return attempts


def _first_attempts(history: History) -> dict[int, Attempt]:
    return {reading: attempts[0] for reading, attempts in _attempts_by_reading(history).items()}
