"""docs/guarantees.md speaks of every refusal the API has, of no other, and names only tests that exist."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

import pytest

from docs.pages import ROOT, pages
from energy.domain.reading import NEEDS_CONFIRMATION, Flag
from energy.wire.problems import KINDS

TEXT = pages()["docs/guarantees.md"].text
ROW = re.compile(r"^\| (\d{3}) \| `(\w+)` \|", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
NAMED_AS_CODES = re.compile(r"(?:\b(?:4|5)\d\d(?: with)?|or) `([a-z]+(?:_[a-z]+)*)`")


@lru_cache
def functions_of(file: str) -> frozenset[str]:
    """The tests of a file, without running it; none where there is no file."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def missing_tests(text: str) -> list[str]:
    """Tests that `text` names and that do not exist, and files it names without saying which test."""
    return [
        f"{file}::{function}"
        for file, function in TEST.findall(text)
        if not function.startswith("test_") or function not in functions_of(file)
    ]


def wrong_rows(text: str) -> set[tuple[str, str]]:
    """Codes with their status that are only in the text, or only in the service."""
    return set(ROW.findall(text)) ^ {(str(kind.status), code) for code, kind in KINDS.items()}


def unknown_codes(text: str) -> set[str]:
    """What the running text calls a code and the service never answers."""
    return set(NAMED_AS_CODES.findall(text)) - set(KINDS)


def test_every_refusal_has_a_row_and_every_row_is_a_refusal() -> None:
    assert wrong_rows(TEXT) == set()
    assert len(ROW.findall(TEXT)) == len(KINDS), "a code has two rows"


def test_the_page_and_the_service_say_the_same_of_each_refusal() -> None:
    said = dict(re.findall(r"^\| \d{3} \| `(\w+)` \| (.*? \| .*?) \| `", TEXT, re.MULTILINE))
    assert said == {code: f"{kind.holds} | {kind.next}" for code, kind in KINDS.items()}


def test_the_text_names_no_code_that_is_never_answered() -> None:
    assert unknown_codes(TEXT) == set()


def test_every_test_that_shows_a_promise_exists() -> None:
    assert missing_tests(TEXT) == []


def test_every_refusal_names_the_test_that_shows_it() -> None:
    assert [line for line in TEXT.splitlines() if ROW.match(line) and not TEST.search(line)] == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("tests/api/test_batch.py::test_ten_thousand_at_once", "tests/api/test_batch.py::test_ten_thousands_at_once"),
        ("tests/api/test_batch.py::test_ten_thousand_at_once", "tests/api/test_batches.py::test_ten_thousand_at_once"),
        ("tests/api/test_batch.py::test_ten_thousand_at_once", "tests/api/test_batch.py"),
        (
            "tests/fault/test_order.py::test_two_writes_are_never_in_flight_in_one_process",
            "tests/fault/test_order.py::until",
        ),
    ],
)
def test_a_misspelt_test_is_found(good: str, bad: str) -> None:
    assert missing_tests(f"shown by `{good}`") == []
    assert missing_tests(f"shown by `{bad}`") == [bad if "::" in bad else f"{bad}::"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("| 503 | `overloaded` |", "| 503 | `overload` |"),
        ("| 503 | `overloaded` |", "| 429 | `overloaded` |"),
        ("| 503 | `not_ready` |", "| not ready |"),
    ],
)
def test_a_misspelt_or_missing_row_is_found(right: str, wrong: str) -> None:
    assert right in TEXT
    assert wrong_rows(TEXT.replace(right, wrong))


def test_a_misspelt_code_in_the_text_is_found() -> None:
    assert unknown_codes("503 `outcome_unknown`") == set()
    assert unknown_codes("503 `outcome_unkown`") == {"outcome_unkown"}


def test_every_flag_of_a_reading_is_explained() -> None:
    explained = set(re.findall(r"^\| `(\w+)`(?: \\\*)? \|", TEXT, re.MULTILINE))
    assert {flag.value for flag in Flag} <= explained
    asked = set(re.findall(r"^\| `(\w+)` \\\* \|", TEXT, re.MULTILINE))
    assert asked == {flag.value for flag in NEEDS_CONFIRMATION}
