"""The drawings: both languages say the same things, and the pictures are those of the text beside them."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from docs.pages import ROOT, pages

SOURCES = ROOT / "docs/drawings"
IMAGES = ROOT / "docs/images"
LANGUAGES = {"en": "docs/architecture.md", "ru": "docs/architecture.ru.md"}
NOT_DRAWINGS = {"style", "words.en", "words.ru"}


def words_of(language: str) -> set[str]:
    return set(re.findall(r"^  (\w+): ", (SOURCES / f"words.{language}.d2").read_text(), re.MULTILINE))


def test_no_picture_is_older_than_its_text() -> None:
    recorded = {}
    for line in (SOURCES / "drawn.sha256").read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        recorded[(SOURCES / name).resolve()] = digest
    there = {*SOURCES.glob("*.d2"), SOURCES / "go.sum", *IMAGES.glob("*.svg")}
    found = {path: sha256(path.read_bytes()).hexdigest() for path in there}
    assert found == recorded, "run `make drawings`"


def test_both_languages_have_a_word_for_everything_that_is_said() -> None:
    said = {word for path in SOURCES.glob("*.d2") for word in re.findall(r"\$\{(\w+)\}", path.read_text())}
    assert said == words_of("en") == words_of("ru")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_architecture_shows_every_drawing_in_its_language(language: str) -> None:
    drawings = {path.stem for path in SOURCES.glob("*.d2")} - NOT_DRAWINGS
    shown = re.findall(r"\]\(images/([\w-]+)\.(\w+)\.svg\)", pages()[LANGUAGES[language]].text)
    assert set(shown) == {(drawing, language) for drawing in drawings}
