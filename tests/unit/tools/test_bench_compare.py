"""The comparison of two commits: what its words say about its figures."""

from __future__ import annotations

import pytest

from tools.bench.compare import ratio_of


@pytest.mark.parametrize(
    ("here", "base", "words"),
    [
        pytest.param([110, 112, 111], [100, 101, 100], "more", id="every pair is faster"),
        pytest.param([90, 91, 89], [100, 101, 100], "less", id="every pair is slower"),
        pytest.param([99, 102, 100], [100, 101, 100], "no difference seen", id="the pairs disagree by little"),
        pytest.param([60, 140, 100], [100, 50, 130], "too noisy to tell", id="the base itself varies twofold"),
        pytest.param([200, 100, 260], [100, 50, 130], "more", id="the machine drifts and every pair is twice as fast"),
    ],
)
def test_a_comparison_says_whether_two_commits_differ(here: list[float], base: list[float], words: str) -> None:
    assert ratio_of("committed/s", here, base).verdict == words
