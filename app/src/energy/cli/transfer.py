"""`energy import` and `energy export`: files in and out, with a progress bar.

An import goes through the same checks as the API. Lines it refuses are written to a file of the same shape with the reason
behind each, so that they can be mended and imported again; importing a whole file again stores nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import itertools
import os
from collections.abc import Callable, Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from energy.cli.databases import database_dsn
from energy.cli.import_rows import BadFile, Importer, MeterImporter, ReadingImporter
from energy.ingest.committer import Committer
from energy.service import database_of, policy_of, utc_now
from energy.settings import Settings
from energy.store.postgres.meters import PostgresMeters
from energy.store.postgres.reader import PostgresReader
from energy.store.postgres.writer import PostgresWriter

_LINES_AT_A_TIME = 5_000
_TIMEOUT_S = 120.0
_console = Console(stderr=True)


@contextlib.contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


class Kind(StrEnum):
    """What a file holds."""

    METERS = "meters"
    READINGS = "readings"


def import_file(
    kind: Annotated[Kind, typer.Argument(help="meters or readings.")],
    file: Annotated[Path, typer.Argument(help="A CSV with a header line.", exists=True, dir_okay=False, readable=True)],
    refused: Annotated[Path | None, typer.Option(help="Where refused lines go (default: FILE.refused.csv).")] = None,
) -> None:
    """Import a CSV of meters or readings; prints what was stored and how fast."""
    settings = Settings()
    target = refused or file.with_name(file.name + ".refused.csv")
    with database_dsn(settings) as dsn:
        stored, bad, seconds = asyncio.run(_import(settings, dsn, kind, file, target))
    typer.echo(
        f"{stored} {kind.value} stored in {seconds:.1f} s ({stored / max(seconds, 1e-9):,.0f} a second), {bad} lines refused."
    )
    if bad:
        typer.echo(f"The refused lines, with the reason behind each, are in {target}. Mend them and import that file.")
        raise typer.Exit(1)
    target.unlink(missing_ok=True)


async def _import(settings: Settings, dsn: str, kind: Kind, file: Path, target: Path) -> tuple[int, int, float]:
    database = database_of(settings, dsn)
    await database.connect()
    loop = asyncio.get_running_loop()
    importer: Importer = (
        MeterImporter(PostgresMeters(database, _TIMEOUT_S))
        if kind is Kind.METERS
        else ReadingImporter(
            Committer(PostgresWriter(database, policy_of(settings), utc_now), loop.time, asyncio.sleep),
            utc_now,
            loop.time,
        )
    )
    started, stored, bad = loop.time(), 0, 0
    try:
        with (
            file.open(newline="", encoding="utf-8-sig") as source,
            target.open("w", newline="", encoding="utf-8") as sink,
        ):
            rows = csv.reader(source)
            header = [name for name in next(rows, []) if name != "reason"]
            importer.check_header(header)
            writer = csv.writer(sink)
            writer.writerow([*header, "reason"])
            with _progress("importing", file.stat().st_size) as show:
                for lines in _chunks(rows):
                    refusals = await importer.store(header, lines)
                    writer.writerows([*line[: len(header)], reason] for line, reason in refusals)
                    stored, bad = stored + len(lines) - len(refusals), bad + len(refusals)
                    show(os.lseek(source.fileno(), 0, os.SEEK_CUR))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(
            f"{file} cannot be read behind the {stored + bad} lines that were: {error}. It has to be a CSV in UTF-8. "
            "Mend it and import it again: nothing is stored twice."
        ) from error
    finally:
        await database.close()
    return stored, bad, loop.time() - started


def _chunks(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    """Non-empty lines, so many at a time."""
    filled = (row for row in rows if row)
    while chunk := list(itertools.islice(filled, _LINES_AT_A_TIME)):
        yield chunk


def export(
    period: Annotated[str, typer.Argument(help="A month, such as 2026-11.")],
    output: Annotated[Path, typer.Option(help="The file to write.")],
) -> None:
    """Write all readings of a period to a CSV for billing."""
    settings = Settings()
    try:
        month = date.fromisoformat(f"{period}-01")
    except ValueError:
        raise typer.BadParameter(f"{period!r} is not a month such as 2026-11", param_hint="PERIOD") from None
    with database_dsn(settings) as dsn:
        rows = asyncio.run(_export(settings, dsn, month, output))
    typer.echo(f"{rows} readings of {period} are in {output}.")


async def _export(settings: Settings, dsn: str, month: date, output: Path) -> int:
    from energy.http.reads import EXPORT_COLUMNS, csv_lines  # noqa: PLC0415 - the API's own format, only needed here

    database = database_of(settings, dsn)
    rows = 0
    unfinished = output.with_name(output.name + ".part")
    try:
        with unfinished.open("w", newline="", encoding="utf-8") as sink, _progress("exporting", None) as show:
            sink.write(",".join(EXPORT_COLUMNS) + "\r\n")
            async for page in PostgresReader(database, None, 0, _TIMEOUT_S).export(month):
                sink.write(csv_lines(page))
                rows += len(page)
                show(rows)
        unfinished.replace(output)  # a file under the final name is a whole one
    finally:
        await database.close()
    return rows
