"""The numbers of the comparison with KEDA: counted from what was seen of pods, in seconds from the window's start."""

from tools.keda.timeline import Pod, Sight, Step, all_ready_s, ready_at, replica_seconds, steps

seen = steps(
    [
        Sight(-60.0, "a", Pod.READY),
        Sight(-20.0, "b", Pod.STARTING),
        Sight(0.5, "b", Pod.READY),
        Sight(30.0, "b", Pod.STARTING),  # leaving: it exists and takes no requests
        Sight(31.0, "b", Pod.GONE),
    ]
)


def test_pods_are_counted_from_sight_to_sight() -> None:
    assert seen == [Step(-60, 1, 1), Step(-20, 2, 1), Step(0.5, 2, 2), Step(30, 2, 1), Step(31, 1, 1)]


def test_a_pod_that_gets_ready_just_after_the_start_is_late() -> None:
    assert (ready_at(seen, 0), all_ready_s(seen, 2)) == (1, 0.5)


def test_pods_that_never_get_ready_are_never_early() -> None:
    assert all_ready_s(seen, 3) is None


def test_replica_seconds_count_pods_that_exist_and_only_the_time_asked_for() -> None:
    assert replica_seconds(seen, -60, 40) == 100 + 51
    assert replica_seconds(seen, 0, 10) == 20


def test_nothing_seen_is_no_pods() -> None:
    assert (steps([]), ready_at([], 0), replica_seconds([], 0, 10)) == ([], 0, 0)
