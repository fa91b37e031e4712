"""The words of docs/style.md's table stay out of pages, messages, docstrings and comments."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.pages import ROOT

KINDS = {".py", ".md", ".yaml", ".yml", ".js", ".mk", ".tpl", ".txt", ".html", ".sh", ".toml"}
MADE = {"build", "node_modules", "__pycache__"}
NOT_SEARCHED = ("docs/style.md", "tests/docs/test_plain_words.py", "requirements/", "LICENSE")
DIALECT = re.compile(
    r"\bmend(?:s|ed|ing)?\b|\bto be had\b|\bfor want of\b|\bsees? to (?:it|that)\b|\bseen to (?:by|it)\b|\bas it should be\b"
    r"|\btold why not\b|\bfor who (?:sets|has|wants)\b"
    r"|\b(?:an?|one) \w* ?an? (?:batch|client|connection|device|file|key|line|meter|pod|process|reading|request|row)\b",
    re.IGNORECASE,
)


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of every file that people write, without the one that quotes these words."""
    for folder, below, files in os.walk(ROOT):
        below[:] = [name for name in below if name not in MADE and (name[0] != "." or name in {".ci", ".github"})]
        for path in (Path(folder) / name for name in files):
            name = str(path.relative_to(ROOT))
            if path.suffix in KINDS and not name.startswith(NOT_SEARCHED) and not path.is_symlink():
                yield name, path.read_text()


def test_pages_messages_and_comments_use_plain_words() -> None:
    found = [
        f"{name}:{number}: {words[0]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if (words := DIALECT.search(line))
    ]
    assert found == [], "say it as docs/style.md does"


@pytest.mark.parametrize("line", ["mend it", "a span a request", "seen to by the parser", "not to be had here"])
def test_a_word_of_the_dialect_is_found(line: str) -> None:
    assert DIALECT.search(line)
