"""Every command block of the README and of docs/ does what it says, or says why no test runs it.

The blocks of a page run in order, in one shell, in a checkout with a `build/` of its own (prelude.sh). Above a block may stand
`<!-- not run: REASON -->`, or `<!-- run by: TEST -->` when a test of its own runs the same text.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contract.test_cockroach_grammar import objections
from docs.pages import ROOT, Block, Page, pages

PRELUDE = (Path(__file__).parent / "prelude.sh").read_text()
PAGES = [page for name, page in pages().items() if re.fullmatch(r"README.*\.md|docs/[^/]*\.md", name)]
BLOCKS = [pytest.param(page, block, id=f"{page.name}:{block.line}") for page in PAGES for block in page.blocks]
PROGRAMS = re.compile(
    r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:make|helm|kubectl|curl|k6|energy|prescaler|docker|\.venv/bin/\S+) ", re.MULTILINE
)


def run_here(page: Page) -> list[Block]:
    return [block for block in page.blocks if not block.not_run and not block.run_by]


def script_of(page: Page) -> str:
    """Without comments: a page in another language has the same commands, which are run once."""
    lines = [line for block in run_here(page) for line in block.text.splitlines()]
    return "\n".join(re.sub(r"(^|\s+)# .*", "", line) for line in lines)


SCRIPTS = {script_of(page): page.name for page in reversed(PAGES) if run_here(page)}


@pytest.fixture
def checkout() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="energy-test-docs-"))
    home.chmod(0o755)  # the embedded database's own user has to get in
    for entry in ROOT.iterdir():
        if entry.name not in {"build", ".git"}:
            (home / entry.name).symlink_to(entry)
    (home / "build").mkdir()
    yield home
    shutil.rmtree(home)


def run(script: str, checkout: Path) -> tuple[int, str]:
    """The exit code and what was printed; into a file, because a database that is left running would hold a pipe open."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ENERGY_", "MAKE", "MFLAGS"))
    }
    printed = checkout / "build" / "printed.txt"
    with printed.open("w") as output:
        done = subprocess.run(
            ["bash", "-c", PRELUDE + script],
            cwd=checkout, env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=100, check=False,
        )  # fmt: skip
    return done.returncode, printed.read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=SCRIPTS.values())
def test_the_commands_of_a_page_work_in_their_order_and_print_what_it_shows(script: str, checkout: Path) -> None:
    code, printed = run(script, checkout)
    assert code == 0, printed
    answers = objects_in(printed)
    shown = answers_shown(pages()[SCRIPTS[script]])
    assert [example for example in shown if not any(is_like(answer, example) for answer in answers)] == []


def answers_shown(page: Page) -> list[Any]:
    """What a page says that its commands print, in blocks of `json`."""
    fences = [token for token in page.tokens if token.type == "fence" and token.info == "json"]
    return [json.loads(token.content) for token in fences]


def is_like(answer: Any, example: Any) -> bool:
    """Whether a page's example shows this answer; `…` stands for what differs each time."""
    if not isinstance(answer, dict) or answer.keys() != example.keys():
        return False
    return all(example[name] in ("…", answer[name]) for name in example)


def objects_in(printed: str) -> list[Any]:
    """Every JSON object that begins in what was printed."""
    found, decoder = [], json.JSONDecoder()
    for start in re.finditer(r"\{", printed):
        try:
            found.append(decoder.raw_decode(printed, start.start())[0])
        except json.JSONDecodeError:
            continue
    return found


def test_both_readmes_show_the_same_commands_and_answers() -> None:
    english, russian = (pages()[name] for name in ("README.md", "README.ru.md"))
    assert script_of(english) == script_of(russian)
    assert answers_shown(english) == answers_shown(russian) != []


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_a_block_that_is_not_run_here_names_what_exists(page: Page, block: Block) -> None:
    for test in re.findall(r"tests/[\w/]+\.py", f"{block.not_run} {block.run_by}"):
        assert (ROOT / test).is_file(), f"{page.name}:{block.line}: there is no {test}"
    if block.run_by:
        assert f'"{page.name}"' in (ROOT / block.run_by).read_text(), f"{block.run_by} runs nothing of {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_no_command_hides_from_being_run(page: Page) -> None:
    assert [line for line, text in page.indented if PROGRAMS.search(text)] == [], "fence it as sh"
    unnamed = [
        token for token in page.tokens if token.type == "fence" and not token.info and PROGRAMS.search(token.content)
    ]
    assert [(token.map or [0])[0] + 1 for token in unnamed] == [], "fence it as sh"


@pytest.mark.parametrize("script", ["false\ntrue", "make no-such-target", "address=127.0.0.1:9\ncurl 127.0.0.1:8000"])
def test_a_command_that_fails_is_found(script: str, checkout: Path) -> None:
    assert run(script, checkout)[0] != 0


@pytest.mark.cluster  # the parser is one of the tools of the test cluster
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_cockroachdb_can_parse_the_sql_that_a_page_gives(page: Page) -> None:
    words = [word for block in page.blocks for word in shlex.split(block.text, comments=True)]
    sql = [text for option, text in pairwise(words) if option == "--execute"]
    assert [problem for problem in objections(*sql) if problem] == []
