"""Every link of the documentation leads somewhere."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from docs.pages import ROOT, Page, pages


@pytest.mark.parametrize("page", pages().values(), ids=pages())
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Page) -> None:
    assert [link for link in page.links if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Page, link: str) -> bool:
    """Whether a link inside the repository does; what is on the web is not asked for."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not parts.fragment or unquote(parts.fragment) in Page(target).anchors


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), ["README.md"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        page = pages()[name]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or not parts.path:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve()
            if target.suffix != ".md" and (target / "README.md").is_file():
                target /= "README.md"
            found = str(target.relative_to(ROOT))
            if found in pages() and found not in reached:
                waiting.append(found)
    assert [name for name in pages() if name.startswith("docs/") and name not in reached] == []


def test_headings_become_the_anchors_that_github_makes() -> None:
    page = Page(ROOT / "invented.md")
    page.__dict__["text"] = "# What `201` means\n\n## Что значит ответ?\n\n## A — b\n"
    assert page.anchors == {"what-201-means", "что-значит-ответ", "a--b"}
