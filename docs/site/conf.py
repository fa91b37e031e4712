"""The site: `make site` runs Sphinx with this file once for each language (SITE_LANGUAGE), over the pages as they stand in the repository.

Nothing is fetched, neither here nor by a reader: the theme brings its styles, fonts are the reader's own, the search is a file
beside the pages. A page without a translation is linked to in the other language's half. Knows nothing of what the pages say.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
TITLES = {"en": "Energy", "ru": "Energy: приём показаний"}
OTHERS = {"en": ("ru", "По-русски"), "ru": ("en", "In English")}
NOT_PAGES = [".venv", "build", "tests", ".*", "**/.*"]
# By page and language. Sphinx fails for a page that no menu has.
MENUS = {
    "README": {
        "en": {
            "Read": [
                "/docs/solution",
                "/docs/guarantees",
                "Capacity and cost </docs/capacity>",
                "/docs/comparison",
                "Figures </docs/measured/README>",
            ],
            "Run": [
                "/docs/operations",
                "/docs/runbooks/README",
                "/docs/load",
                "The chart </helm/energy/README>",
                "The operator </operator/README>",
            ],
            "Look up": ["/docs/api", "/docs/settings", "/docs/metrics", "/docs/billingwindow"],
            "Change": ["/CONTRIBUTING", "Style </docs/style>", "/docs/adr/README", "/tools/cluster/README"],
            "Project": ["All pages </docs/README>", "/CHANGELOG", "/SECURITY", "/SUPPORT", "/GOVERNANCE"],
        },
        "ru": {"Страницы": ["/docs/solution.ru", "/docs/comparison.ru"]},
    },
    "docs/runbooks/README": {"en": {"Alerts": ["*"]}, "ru": {"Оповещения": ["*.ru"]}},
    "docs/adr/README": {"en": {"Decisions": ["*"]}},
}

language = os.environ["SITE_LANGUAGE"]
other, other_name = OTHERS[language]
ending = "" if language == "en" else f".{language}"
project = html_title = TITLES[language]
root_doc = f"README{ending}"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
include_patterns = [f"*{ending}.md", f"**/*{ending}.md"]
exclude_patterns = [*NOT_PAGES, *(["*.ru.md", "**/*.ru.md"] if language == "en" else [])]
suppress_warnings = ["myst.header"]  # a page may begin with a picture
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
templates_path = ["."]
html_theme = "furo"
html_additional_pages = {"index": "index.html"}
html_sidebars = {
    "**": [
        "sidebar/brand.html", "language.html", "sidebar/search.html", "sidebar/scroll-start.html", "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}  # fmt: skip
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def add_menu(_app: Sphinx, name: str, source: list[str]) -> None:
    """Lists a page's children for the theme's menu, which the repository's pages have no need of."""
    for caption, pages in MENUS.get(name.removesuffix(ending), {}).get(language, {}).items():
        options = f":hidden:\n:glob:\n:caption: {caption}\n"
        source[0] += "\n".join(["\n\n```{toctree}", options, *pages, "```\n"])


def lead_elsewhere(app: Sphinx, document: nodes.document) -> None:
    """Links to the other half, to folders (which a site has not), and pictures from the web (badges)."""
    here = Path(app.env.docname).parent
    for link in list(document.findall(pending_xref)):
        if link["refdomain"] == "doc" and link["reftarget"] not in app.env.found_docs:
            page = os.path.relpath(f"{other}/{link['reftarget']}.html", f"{language}/{here}")
            anchor = f"#{link['reftargetid']}" if link["reftargetid"] else ""
            link.replace_self(nodes.reference("", "", *link.children, refuri=page + anchor, internal=True))
        elif (ROOT / here / link["reftarget"]).is_dir():
            link.replace_self(link.children)
    for picture in list(document.findall(nodes.image)):
        if "://" in picture["uri"]:
            frame = picture.parent if isinstance(picture.parent, pending_xref | nodes.reference) else picture
            frame.parent.remove(frame)


def name_the_other(
    _app: Sphinx, page: str, _template: str, context: dict[str, Any], _tree: nodes.document | None
) -> None:
    """Where the same page, or else the start, is in the other language."""
    twin = f"{page.removesuffix(ending)}{'' if other == 'en' else f'.{other}'}"
    there = twin if (ROOT / f"{twin}.md").is_file() else f"README{'' if other == 'en' else f'.{other}'}"
    way = os.path.relpath(f"{other}/{there}.html", f"{language}/{Path(page).parent}")
    context["other"] = {"language": other, "name": other_name, "page": way}


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_menu)
    app.connect("doctree-read", lead_elsewhere)
    app.connect("html-page-context", name_the_other)
