"""How every command takes its file: a path, or `-` for standard input or output.

A file that is written appears under its name when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO

import typer

STANDARD = Path("-")
"""Standard input or output instead of a file."""


def readable(file: Path) -> Path:
    """The file, if it can be read; for the command line's own check."""
    if file != STANDARD and not (file.is_file() and os.access(file, os.R_OK)):
        raise typer.BadParameter(f"{file} is not a file that can be read", param_hint="FILE")
    return file


@contextlib.contextmanager
def opened(file: Path, encoding: str) -> Iterator[TextIO]:
    """The file's text, with its line ends as they are."""
    descriptor = os.dup(sys.stdin.fileno()) if file == STANDARD else os.open(file, os.O_RDONLY)
    with open(descriptor, newline="", encoding=encoding) as source:  # noqa: PTH123 - a descriptor, not a path
        yield source


@contextlib.contextmanager
def written(file: Path, *, private: bool = False) -> Iterator[TextIO]:
    """A file to write in UTF-8; with `private` for its owner's eyes only."""
    if file == STANDARD:
        with open(os.dup(sys.stdout.fileno()), "w", newline="", encoding="utf-8") as sink:  # noqa: PTH123 - a descriptor
            yield sink
        return
    unfinished = file.with_name(file.name + ".part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666)
    with open(descriptor, "w", newline="", encoding="utf-8") as sink:  # noqa: PTH123 - a descriptor, for its mode
        yield sink
    unfinished.replace(file)


def size_of(source: IO[str]) -> int | None:
    """The size in bytes, where it is known."""
    return os.fstat(source.fileno()).st_size or None


def place_in(source: IO[str]) -> int:
    """How many bytes have been read, where that is known."""
    return os.lseek(source.fileno(), 0, os.SEEK_CUR) if size_of(source) else 0
