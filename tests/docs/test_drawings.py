"""The drawings: both languages say the same things, and the pictures are those of the text beside them."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from docs.pages import ROOT, pages
from tools import monthplot
from tools.reference import openapi

SOURCES = ROOT / "docs/drawings"
IMAGES = ROOT / "docs/images"
LANGUAGES = {"en": "docs/solution.md", "ru": "docs/solution.ru.md"}
NOT_DRAWN = {"api_keys": {"note", "created_at"}}
DEFECT = {"500"}
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
def test_the_answer_shows_every_drawing_in_its_language(language: str) -> None:
    drawings = {path.stem for path in SOURCES.glob("*.d2")} - NOT_DRAWINGS | {"month-capacity"}
    shown = re.findall(r"\]\(images/([\w-]+)\.(\w+)\.svg\)", pages()[LANGUAGES[language]].text)
    assert set(shown) == {(drawing, language) for drawing in drawings}


@pytest.mark.parametrize("drawing", sorted({path.stem for path in SOURCES.glob("*.d2")} - NOT_DRAWINGS))
def test_a_drawing_has_a_title_and_says_what_its_colours_and_arrows_mean(drawing: str) -> None:
    source = (SOURCES / f"{drawing}.d2").read_text()
    assert re.search(r"^title: \$\{title_\w+\} \{class: title\}$", source, re.MULTILINE)
    assert re.search(r"^key: \$\{key\w*\} \{class: key\}$", source, re.MULTILINE)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("drawing", sorted({path.stem for path in SOURCES.glob("*.d2")} - NOT_DRAWINGS))
def test_every_number_in_a_drawing_is_explained_below_it(drawing: str, language: str) -> None:
    """The paragraphs between the picture and the next heading have a `3.` for every step 3 of the picture."""
    words = dict(re.findall(r'^  (\w+): "(.*)"$', (SOURCES / f"words.{language}.d2").read_text(), re.MULTILINE))
    said = re.sub(r"\$\{(\w+)\}", lambda name: f'"{words[name[1]]}"', (SOURCES / f"{drawing}.d2").read_text())
    numbers = set(re.findall(r'"(\d+)(?:  [^"]*)?"(?! \{class: alarm)', said)) if drawing != "retry" else set()
    below = pages()[LANGUAGES[language]].text.partition(f"images/{drawing}.{language}.svg)")[2].partition("\n### ")[0]
    assert numbers - set(re.findall(r"(?:^|\s)(\d+)\. ", below)) == set()


def test_the_month_is_drawn_from_the_plan_and_the_load_script_of_today() -> None:
    days, quiet, hours = monthplot.shares()
    assert max(days.values()) == 1
    assert len(hours) == 4
    assert 0 < quiet < min(days.values())


def test_the_data_model_shows_the_tables_and_columns_that_the_migrations_make() -> None:
    steps = sorted((ROOT / "app/src/energy/store/migrations/versions").glob("0*.py"))
    made: dict[str, set[str]] = {}
    for sql in (step.read_text().partition("def downgrade")[0] for step in steps):
        for table, columns in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) \(\n(.*?)\n\)", sql, re.DOTALL):
            made[table] = set(re.findall(r"^  ([a-z]\w+) [a-z]", columns, re.MULTILINE))
        for table, column in re.findall(r"ALTER TABLE (\w+) ADD COLUMN IF NOT EXISTS (\w+)", sql):
            made[table].add(column)
    source = (SOURCES / "data.d2").read_text()
    drawn = {
        table: {name for names in re.findall(r"^  ([a-z][\w, ]*): ", body, re.MULTILINE) for name in names.split(", ")}
        - {"shape"}
        for table, body in re.findall(r"^(\w+): \{\n(.*?)\n\}", source, re.DOTALL | re.MULTILINE)
    }
    assert {table: made[table] - columns for table, columns in drawn.items()} == {
        table: NOT_DRAWN.get(table, set()) for table in drawn
    }
    assert {table: columns - made[table] for table, columns in drawn.items()} == {table: set() for table in drawn}
    assert drawn.keys() == made.keys()


def test_the_way_of_a_reading_shows_every_status_that_its_request_may_be_answered() -> None:
    drawn = (SOURCES / "reading.d2").read_text()
    words = re.findall(r"^  (r_\w+): (.*)$", (SOURCES / "words.en.d2").read_text(), re.MULTILINE)
    statuses = set(re.findall(r"(?<!\d)[2-5]\d\d(?!\d)", drawn + " ".join(text for _, text in words)))
    assert statuses | DEFECT == set(openapi()["paths"]["/v1/readings"]["post"]["responses"])
