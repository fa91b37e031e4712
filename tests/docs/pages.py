"""The documentation as data: every page with its links, headings, code spans and command blocks.

Pages are found, not listed, so that a new one is held to the same promises without anybody thinking of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
_ELSEWHERE = {"build", "node_modules", "__pycache__"}
_MARK = re.compile(r"<!-- (not run|run by): ([^\n]+) -->\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """Commands for a shell. Above it may stand why no test runs it (`not_run`), or which test of its own does (`run_by`)."""

    line: int
    text: str
    not_run: str | None
    run_by: str | None


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """Its path from the root."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.text)

    @cached_property
    def inlines(self) -> list[Token]:
        """The pieces of running text: words, code spans, links."""
        return [child for token in self.tokens for child in token.children or ()]

    @property
    def spans(self) -> Iterator[str]:
        """What stands in backticks inside the text."""
        return (child.content for child in self.inlines if child.type == "code_inline")

    @property
    def links(self) -> Iterator[str]:
        """Where links and pictures lead."""
        for child in self.inlines:
            target = child.attrGet("href" if child.type == "link_open" else "src")
            if isinstance(target, str):
                yield target
        for html in (token.content for token in [*self.tokens, *self.inlines] if token.type.startswith("html")):
            yield from re.findall(r'(?:href|src|srcset)="([^"]+)"', html)

    @cached_property
    def anchors(self) -> set[str]:
        """What a link may name behind `#`, as GitHub makes it from headings."""
        found: set[str] = set()
        for opening, inline in zip(self.tokens, self.tokens[1:], strict=False):
            if opening.type == "heading_open":
                words = "".join(child.content for child in inline.children or ())
                slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
                found.add(slug if slug not in found else f"{slug}-1")
        return found | set(re.findall(r'(?:id|name)="([^"]+)"', self.text))

    @property
    def blocks(self) -> Iterator[Block]:
        """Its command blocks, fenced as `sh`."""
        lines = self.text.splitlines()
        for token in self.tokens:
            if token.type == "fence" and token.info.split()[:1] in (["sh"], ["bash"], ["shell"]):
                start = (token.map or [0])[0]
                above = _MARK.search("\n".join(lines[:start]))
                marks = {above[1]: above[2]} if above else {}
                yield Block(start + 1, token.content, marks.get("not run"), marks.get("run by"))

    @property
    def indented(self) -> Iterator[tuple[int, str]]:
        """Blocks that are set off by four spaces, and so say nothing about what they are."""
        return (((token.map or [0])[0] + 1, token.content) for token in self.tokens if token.type == "code_block")


@lru_cache
def pages() -> dict[str, Page]:
    """Every page of the repository by its path."""
    found = []
    for folder, below, files in os.walk(ROOT):
        below[:] = [name for name in below if name not in _ELSEWHERE and (not name.startswith(".") or name == ".ci")]
        found += [Page(Path(folder) / name) for name in files if name.endswith(".md")]
    return {page.name: page for page in sorted(found, key=lambda page: page.path)}


def commands(page: str, word: str) -> str:
    """The command block of a page that has `word` in it, for the test that runs it."""
    (found,) = (block.text for block in pages()[page].blocks if word in block.text)
    return found
