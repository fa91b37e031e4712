"""The benchmark's table: what its figures have to reach, and when it cannot tell."""

from __future__ import annotations

from dataclasses import replace

from tools.bench.load import Point
from tools.bench.targets import noise, targets

CEILING = Point("ceiling", "empty", 256, 40_000)
WHOLE = Point("whole path", "empty", 256, 26_000, service_cpu_us=31.0, postgres_cpu_us=12.0)


def test_a_target_is_a_ratio_of_medians_of_one_run() -> None:
    points = [CEILING, replace(CEILING, rate=41_000), replace(CEILING, rate=10), WHOLE]
    found = {line.target: (line.asked, line.reached, line.met) for line in targets(points)}
    assert found["whole path / ceiling, c=256, empty"] == ("≥ 0.6", "0.65", True)
    assert found["service CPU a reading, c=256, empty"] == ("≤ 30 µs", "31.0 µs", False)


def test_a_peer_is_compared_where_it_was_measured() -> None:
    ours = [Point("ours /v1/values", "empty", 1, 3_000.0), Point("ours /v1/values", "empty", 4, 6_000.0)]
    found = targets([*ours, Point("peer /v1/values", "empty", 1, 4_000.0)])
    assert [(line.target, line.reached, line.met) for line in found] == [
        ("/v1/values / the peer's, c=1", "0.75", False)
    ]


def test_the_bench_says_when_the_machine_was_too_noisy() -> None:
    assert noise([CEILING, replace(CEILING, rate=38_000)]) == ""
    assert noise([CEILING, replace(CEILING, rate=30_000)]) == "too noisy to tell: the ceiling itself varied by 1.33"
