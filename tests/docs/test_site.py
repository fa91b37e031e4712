"""The built site (`make test-site`): links lead somewhere, its search finds in both languages, and nothing comes from elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from docs.pages import ROOT, pages

SITE = ROOT / "build/site"
FETCHED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
BROWSER = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    not os.environ.get("ENERGY_REQUIRE_SITE"), reason="needs the built site: `make test-site`"
)
IN_A_BROWSER = pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")
SEARCHES = [
    pytest.param("en", "acknowledged", "docs/guarantees", id="a word of the guarantees"),
    pytest.param("en", "EnergyShedding", "docs/runbooks/EnergyShedding", id="the name of an alert"),
    pytest.param("ru", "показаниями", "docs/solution.ru", id="a Russian word in a form that no page has"),
]


class Html(HTMLParser):
    """Addresses and ids of a page, and what its first tags say."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.names: set[tuple[str, str]] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.names |= {(tag, value) for name, value in given.items() if name in ("lang", "name", "rel")}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if (
            tag in FETCHED
            and given.get(FETCHED[tag], "")
            and given.get("rel") not in ("next", "prev", "search", "index", "author")
        ):
            self.fetched.append(given[FETCHED[tag]])


@cache
def html(path: Path) -> Html:
    return Html(path)


def all_html() -> list[Path]:
    return sorted(SITE.rglob("*.html"))


def leads_somewhere(page: Path, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return False
    return not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in html(target).ids


def test_every_link_of_the_site_leads_to_a_page_and_a_heading_that_exist() -> None:
    wrong = {
        (str(page.relative_to(SITE)), link)
        for page in all_html()
        for link in html(page).links
        if not leads_somewhere(page, link)
    }
    assert wrong == set()


def test_a_reader_fetches_nothing_from_elsewhere_and_everything_is_there() -> None:
    for page in all_html():
        assert [
            address for address in html(page).fetched if not leads_somewhere(page, address) or "//" in address
        ] == [], page
    styles = [
        path for path in SITE.rglob("*.css") if re.search(r"(?:url\(|@import )['\"]?(?:https?:)?//", path.read_text())
    ]
    assert styles == []


def test_every_page_of_the_repository_is_in_the_half_of_its_language() -> None:
    names = {name.removesuffix(".md") for name in pages() if not name.startswith(("tests/", "loadtest/"))}
    there = {name for name in names if (SITE / ("ru" if name.endswith(".ru") else "en") / f"{name}.html").is_file()}
    assert names == there


def test_every_page_says_its_language_fits_a_phone_and_leads_to_the_other_language() -> None:
    for language, other in (("en", "ru"), ("ru", "en")):
        for page in (SITE / language).rglob("*.html"):
            if page.name != "index.html":
                assert {("html", language), ("meta", "viewport"), ("a", other)} <= html(page).names, page


@pytest.mark.parametrize(("language", "word", "page"), SEARCHES)
def test_the_index_of_the_search_has_the_word(language: str, word: str, page: str) -> None:
    index = json.loads(
        (SITE / language / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")")
    )
    found = [
        stem
        for stem in (*index["terms"], *index["titleterms"])
        if word.lower().startswith(stem) and len(stem) > len(word) / 2
    ]
    numbers = [index[where][stem] for where in ("terms", "titleterms") for stem in found if stem in index[where]]
    documents = {number for given in numbers for number in (given if isinstance(given, list) else [given])}
    assert page in {index["docnames"][number] for number in documents}


@IN_A_BROWSER
@pytest.mark.parametrize(("language", "word", "page"), SEARCHES)
def test_a_browser_without_a_network_searches_and_finds_the_page(
    language: str, word: str, page: str, tmp_path: Path
) -> None:
    assert BROWSER is not None
    shown = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--virtual-time-budget=10000",
         "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", f"file://{SITE / language / 'search.html'}?q={quote(word)}"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert re.search(rf'<li class="kind-[^"]*"><a href="{re.escape(page)}\.html', shown), shown[-3000:]
