"""Names that docstrings and comments give exist: identifiers in `backticks`, files, settings, metrics and make targets.

An identifier exists when code uses it, or a text that code has (SQL, a template, a manifest). So a name that only comments know
is found, and a name of PostgreSQL or Kubernetes that the code speaks of is not a false alarm.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import pytest

from docs.pages import ROOT
from docs.test_names import unknown_metrics, unknown_targets, unknown_variables

FOLDERS = ("app/src", "operator/src", "loadtest", "tools", "tests")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != Path(__file__))
OTHER_TEXTS = {
    ".yaml",
    ".yml",
    ".js",
    ".json",
    ".sh",
    ".mk",
    ".tpl",
    ".toml",
    ".lua",
    ".html",
    ".txt",
    ".go",
    ".ini",
    ".mako",
}
IDENTIFIER = re.compile(r"(?:\w+\.)*\w*[a-z]\w*(?:\(\))?")
FILE = re.compile(r"(?<![\w/.{}*$<-])(?:[\w-]+/)*[\w-]+\.(?:py|mk|yaml|js|sh|md|lua)\b(?!\()")
PLAIN_BASES = {"Protocol", "Enum", "StrEnum", "BaseSettings", "Exception"}
OF_OTHER_PROGRAMS = {"CommandComplete", "ReadyForQuery"}


def prose(path: Path) -> Iterator[str]:
    """Docstrings, texts that stand as statements, and comments."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@lru_cache
def words() -> set[str]:
    """Every word of the code and of the texts beside it, without what is prose."""
    found: set[str] = set()
    for path in MODULES:
        tree = ast.parse(path.read_text())
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            for _, value in ast.iter_fields(node):
                if isinstance(value, str) and id(node) not in said:
                    found.update(re.findall(r"\w+", value))
        found.add(path.stem)
        found.update(path.relative_to(ROOT).parts)
    others = [*ROOT.glob("*.toml"), *ROOT.glob("kind*"), ROOT / "Makefile", ROOT / ".importlinter"]
    others += [
        path
        for folder in ("app", "operator", "helm", "loadtest", "make", "tools", "requirements")
        for path in (ROOT / folder).rglob("*")
    ]
    for path in others:
        if path.suffix in OTHER_TEXTS or path.name in {"Makefile", "Dockerfile", ".importlinter"}:
            found.update(re.findall(r"\w+", path.read_text()))
    return found


@lru_cache
def members() -> dict[str, set[str]]:
    """What each of our modules and classes has, where that can be seen: not where a class of a library lends its own."""
    found: dict[str, set[str]] = {}
    for path in MODULES:
        tree = ast.parse(path.read_text())
        found.setdefault(path.stem, set()).update(_names_in(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and all(ast.unparse(base) in PLAIN_BASES for base in node.bases):
                found.setdefault(node.name, set()).update(_names_in(node))
    return found


def _names_in(tree: ast.AST) -> set[str]:
    """Everything that is defined, bound, imported or set on an object below a node."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name)
    return found


@lru_cache
def files() -> set[str]:
    """Every way to name a file by the end of its path."""
    paths = [
        path for folder in (*FOLDERS, "app", "operator", "docs", "helm", "make") for path in (ROOT / folder).rglob("*")
    ]
    parts = [path.relative_to(ROOT).parts for path in [*paths, *ROOT.iterdir()]]
    return {"/".join(names[start:]) for names in parts for start in range(len(names))}


def unknown(text: str) -> set[str]:
    wrong = unknown_variables(text)
    for span in re.findall(r"`([^`\n]+)`", text):
        wrong |= unknown_metrics(span) | unknown_targets(span)
        if IDENTIFIER.fullmatch(span) and Path(span).suffix not in OTHER_TEXTS | {".py", ".md"}:
            parts = re.findall(r"\w+", span)
            wrong |= {span for word in parts if word not in words() | OF_OTHER_PROGRAMS}
            wrong |= {span for owner, name in pairwise(parts) if name not in members().get(owner, {name})}
    return wrong | {file for file in FILE.findall(text) if file not in files()}


@pytest.mark.parametrize("module", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])
def test_every_name_that_a_comment_gives_exists(module: Path) -> None:
    assert {name for text in prose(module) for name in unknown(text)} == set()
