"""What the product has is documented: the pages made from the code are what the code says now."""

from __future__ import annotations

import re

import pytest

from docs.pages import pages
from energy.settings import Settings
from tools import quotes
from tools.reference import DOCS, PAGES, ROOT, alerts


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run: make reference"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_says_what_it_is(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts()])
def test_the_runbook_of_an_alert_says_what_to_do(alert: str) -> None:
    page = (DOCS / "runbooks" / f"{alert}.md").read_text()
    assert page.startswith(f"# {alert}\n")
    assert "**Do.**" in page or "| do |" in page


def test_every_setting_of_the_operator_is_told() -> None:
    sources = (ROOT / "operator/src/prescaler").glob("*.py")
    read = {name for source in sources for name in re.findall(r'"(PRESCALER_\w+)"', source.read_text())}
    told = set(re.findall(r"PRESCALER_\w+", (ROOT / "operator/README.md").read_text()))
    assert read == told


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "README.ru.md",
        "docs/solution.md",
        "docs/solution.ru.md",
        "docs/capacity.md",
        "docs/comparison.md",
        "docs/comparison.ru.md",
    ],
)
def test_a_page_of_figures_leads_to_the_files_they_are_from(page: str) -> None:
    assert [link for link in pages()[page].links if "measured/" in link], "quote docs/measured, and link to it"


@pytest.mark.parametrize("name", sorted(name for name, page in pages().items() if quotes.MARK.search(page.text)))
def test_every_figure_of_a_page_is_the_one_measured(name: str) -> None:
    text = pages()[name].text
    assert text == quotes.filled(name, text), "run: make reference"


MADE_OF_FIGURES = {"docs/comparison.md", "docs/comparison.ru.md"}


@pytest.mark.parametrize("name", sorted(pages().keys() - MADE_OF_FIGURES))
def test_who_names_a_file_of_figures_quotes_it_through_a_mark(name: str) -> None:
    """Each paragraph with the table that it announces by a colon, and each row of a table that names one itself."""
    text = pages()[name].text
    pieces = [*re.split(r"(?<!:)\n\n|\n(?=- )", text), *re.findall(r"^\|.*$", text, re.MULTILINE)]
    naming = [piece for piece in pieces if re.search(r"\]\((?:docs/)?measured/[\w-]+\.json\)", piece)]
    assert [piece for piece in naming if not quotes.MARK.search(piece)] == []


@pytest.mark.parametrize("name", sorted(pages()))
def test_no_line_begins_with_a_mark_which_would_end_its_paragraph(name: str) -> None:
    """A line that begins with a comment is HTML to Markdown, up to its end: links in it stay as they were typed."""
    assert re.findall(r"^\s*(?:[-*>] |\d+\. )?<!--=.*", pages()[name].text, re.MULTILINE) == []


def test_a_stale_figure_and_an_unknown_one_are_found() -> None:
    stale = "<!--=peak.acknowledged-->1<!--/-->"
    assert quotes.filled("page.md", stale) != stale
    assert "\u00a0" in quotes.filled("page.ru.md", stale)
    with pytest.raises(KeyError):
        quotes.filled("page.md", "<!--=peak.acknowledge-->1<!--/-->")


def value(name: str) -> float:
    return quotes.FIGURES[name]()[0]


CLAIMS = {
    "five replicas on the same cores are slower than one": lambda: all(
        value(f"seed.test{test}_5_p99_ms") > value(f"seed.test{test}_1_p99_ms") for test in (1, 2, 3, 4)
    ),
    "single readings miss the aim of 60 %": lambda: value("bench.share_min") < 60,
    "group commit stores all of the spike, one INSERT at a time sheds": lambda: (
        value("spike.shed") == 0 < value("overload.shed")
    ),
    "nothing acknowledged is lost": lambda: (
        sum(value(f"{run}.lost") for run in ("overload", "story", "kill", "power")) == 0
    ),
    "a new connection with TLS costs the edge more than an open one": lambda: value("edge.handshake_us") > 0,
    "processes on the same cores add no throughput": lambda: value("scale.single_4") < value("scale.single_1"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_pages_say_of_the_figures_is_true_of_todays(claim: str) -> None:
    assert CLAIMS[claim](), (
        "the figures have changed: say it differently in docs/solution*.md, docs/capacity.md, README*"
    )
