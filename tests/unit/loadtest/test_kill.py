"""The demonstration of kill -9 loses nothing, and its picture is what was recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from loadtest import kill
from tools import cast

CASTS = sorted(kill.IMAGES.glob("kill.*.cast"))


@pytest.mark.slow  # starts a database and the service twice
def test_nothing_acknowledged_is_lost_when_both_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill, "IMAGES", tmp_path)
    monkeypatch.setattr(kill, "UNDISTURBED_S", 0.5)
    assert kill.measure(tmp_path / "run")
    figures = json.loads((tmp_path / "run/figures.json").read_text())
    assert figures["acknowledged"] <= figures["stored"]
    assert (tmp_path / "kill.ru.cast").exists()


@pytest.mark.parametrize("path", CASTS, ids=[path.stem for path in CASTS])
def test_the_picture_of_a_recording_says_what_was_recorded(path: Path) -> None:
    assert path.with_suffix(".svg").read_text() == cast.svg(path.read_text()), "run: make drawings"


def test_both_languages_tell_the_same_run_which_lost_nothing() -> None:
    english, russian = ([json.loads(line) for line in path.read_text().splitlines()[1:]] for path in CASTS)
    assert [at for at, _, _ in english] == [at for at, _, _ in russian]
    assert "lost 0 · stored twice 0" in english[-1][2]
    figures = [
        [re.sub(r"\D", "", number) for number in re.findall(r"\d[\d,\u00a0.]*", line[2])]
        for line in (english[-1], russian[-1])
    ]
    assert figures[0] == figures[1]
