"""The README is short, has the pieces a newcomer looks for, and its badges are true."""

from __future__ import annotations

import re
import tomllib
from urllib.parse import unquote

import pytest
import yaml

from docs.pages import ROOT, pages

READMES = ["README.md", "README.ru.md"]
LINES_MAX = 100


def badges(name: str) -> dict[str, str]:
    """Label and message of each badge."""
    found = re.findall(r"img\.shields\.io/badge/(\S+?)-([a-z]+)\)", pages()[name].text)
    parts = (re.split(r"(?<!-)-(?!-)", unquote(text)) for text, _ in found)
    return {label.replace("_", " "): message.replace("_", " ").replace("--", "-") for label, message in parts}


@pytest.mark.parametrize("name", READMES)
def test_a_readme_can_be_read_at_once(name: str) -> None:
    assert len(pages()[name].text.splitlines()) <= LINES_MAX


@pytest.mark.parametrize("name", READMES)
def test_what_a_badge_says_is_what_the_files_say(name: str) -> None:
    project = tomllib.loads((ROOT / "app/pyproject.toml").read_text())["project"]
    kubernetes = yaml.safe_load((ROOT / "helm/energy/Chart.yaml").read_text())["kubeVersion"]
    assert badges(name) == {
        "licence": "Apache-2.0",
        "python": project["requires-python"].removeprefix(">=") + "+",
        "kubernetes": re.sub(r">=(\d+\.\d+)\..*", r"\1+", kubernetes),
        "run on": "PostgreSQL 15+",
        "CockroachDB": "not run",
    }
    assert "Apache License" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize(("name", "language"), [("README.md", "en"), ("README.ru.md", "ru")])
def test_a_readme_shows_the_landscape_the_month_and_a_recording_in_its_language(name: str, language: str) -> None:
    shown = re.findall(r"docs/images/([\w-]+)\.(\w+)\.svg", pages()[name].text)
    assert set(shown) == {("landscape", language), ("month-capacity", language), ("kill", language)}


@pytest.mark.parametrize("name", READMES)
def test_a_readme_says_how_to_stop_and_to_clean_up_and_what_was_never_run(name: str) -> None:
    text = pages()[name].text
    assert "Ctrl-C" in text
    assert "rm -r build/data" in text
    assert re.search(r"not run on CockroachDB|на CockroachDB не запускалась", text)
