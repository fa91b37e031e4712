"""`energy import` and `energy export`: files in and out, with a progress bar.

An import goes through the same checks as the API. Lines it refuses are written to a file of the same shape with the reason
in front of each, so that they can be fixed and imported again; importing a whole file again stores nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import gc
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, TextIO, TypeVar
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from energy.cli import files, stopping
from energy.cli.databases import database_with_schema
from energy.cli.import_rows import Checked, Imported, Importer, MeterImporter, ReadingImporter, Times
from energy.cli.table import REASON, BadFile, Line, Table, moment_of, open_table
from energy.ingest.committer import Committer
from energy.ingest.rejudging import Rejudging
from energy.service import database_of, policy_of, utc_now
from energy.settings import Settings
from energy.store.postgres.database import Database
from energy.store.postgres.meters import PostgresMeters
from energy.store.postgres.reader import PostgresReader
from energy.store.postgres.rejudge import PostgresRejudge
from energy.store.postgres.writer import PostgresWriter
from energy.wire.tables import HEADER_OUT, csv_lines

_LINES_AT_A_TIME = 10_000
_TIMEOUT_S = 120.0
_console = Console(stderr=True)
_Row = TypeVar("_Row")


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


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Rows are many objects that live for a second and are in no cycle: looking for one took a quarter of an import."""
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class Kind(StrEnum):
    """What a file holds."""

    METERS = "meters"
    READINGS = "readings"


class Encoding(StrEnum):
    """How a file's letters are written."""

    UTF_8 = "utf-8"
    CP1251 = "cp1251"

    @property
    def codec(self) -> str:
        """What reads it: a mark at the start of a file in UTF-8 is no part of its first column."""
        return "utf-8-sig" if self is Encoding.UTF_8 else self.value


@dataclass(slots=True)
class Counts:
    """How many lines became what."""

    stored: int = 0
    repeated: int = 0
    refused: int = 0

    def add(self, done: Imported) -> None:
        """Some more lines."""
        self.stored += done.stored
        self.repeated += done.repeated
        self.refused += len(done.refused)


def import_file(
    kind: Annotated[Kind, typer.Argument(help="meters or readings.")],
    file: Annotated[
        Path,
        typer.Argument(help="A CSV with a header line, or - for standard input.", callback=files.readable),
    ],
    refused: Annotated[Path | None, typer.Option(help="Where refused lines go (default: FILE.refused.csv).")] = None,
    encoding: Annotated[Encoding, typer.Option(help="cp1251 for a file of Excel in Russian.")] = Encoding.UTF_8,
    time_zone: Annotated[
        str | None, typer.Option(help="Zone of reading times without an offset, such as Europe/Samara.")
    ] = None,
    read_at: Annotated[str | None, typer.Option(help="When the readings of lines without read_at were taken.")] = None,
) -> None:
    """Import a CSV of meters or readings; prints what was stored and how fast."""  # fmt: skip
    settings = Settings()
    times = _times(kind, time_zone, read_at)
    target = refused or Path(f"{kind.value if file == files.STANDARD else file}.refused.csv")
    if file != files.STANDARD and target.exists() and target.samefile(file):
        raise typer.BadParameter("refused lines would overwrite the file itself; name another", param_hint="--refused")
    _refuse_unwritable(target)
    with database_with_schema(settings) as dsn, _seldom_collected():
        counts, seconds = stopping.run(_import(settings, dsn, _Job(kind, file, target, encoding, times)))
    before = f" {counts.repeated} stored before," if kind is Kind.READINGS else ""
    typer.echo(
        f"{counts.stored} {kind.value} stored,{before} {counts.refused} lines refused, in {seconds:.1f} s "
        f"({counts.stored / max(seconds, 1e-9):,.0f} a second)."
    )
    if counts.refused:
        typer.echo(
            f"The refused lines, with the reason in front of each, are in {target}. Fix them and import that file."
        )
        raise typer.Exit(1)


def _refuse_unwritable(target: Path) -> None:
    """By really trying: who is root may write everywhere, as far as the system tells beforehand."""
    is_new = not target.exists()
    try:
        target.open("ab").close()
        if is_new:
            target.unlink()
    except OSError as error:
        raise typer.BadParameter(
            f"refused lines cannot be written to {target}: {error.strerror}; name another file", param_hint="--refused"
        ) from error


def _times(kind: Kind, time_zone: str | None, read_at: str | None) -> Times:
    if kind is Kind.METERS and (time_zone or read_at):
        raise typer.BadParameter("only readings have one", param_hint="--time-zone" if time_zone else "--read-at")
    try:
        zone = ZoneInfo(time_zone) if time_zone else None
    except (KeyError, OSError, ValueError):
        raise typer.BadParameter(f"{time_zone!r} is not in the IANA database", param_hint="--time-zone") from None
    try:
        return Times(zone, moment_of("--read-at", read_at, zone) if read_at else None)
    except ValueError as error:
        raise typer.BadParameter(f"{error}", param_hint="--read-at") from None


@dataclass(frozen=True, slots=True)
class _Job:
    kind: Kind
    file: Path
    target: Path
    encoding: Encoding
    times: Times

    def importer(self, settings: Settings, database: Database) -> Importer[Any]:  # of meters or of readings
        if self.kind is Kind.METERS:
            return MeterImporter(PostgresMeters(database, _TIMEOUT_S))
        clock = asyncio.get_running_loop().time
        policy = policy_of(settings)
        rejudging = Rejudging(PostgresRejudge(database, policy, _TIMEOUT_S), asyncio.sleep)
        writer = rejudging.around(PostgresWriter(database, policy, utc_now))
        return ReadingImporter(Committer(writer, clock, asyncio.sleep), rejudging, self.times, utc_now, clock)


async def _import(settings: Settings, dsn: str, job: _Job) -> tuple[Counts, float]:
    database = database_of(settings, dsn)
    await database.connect()
    clock = asyncio.get_running_loop().time
    started, counts = clock(), Counts()
    try:
        with files.opened(job.file, job.encoding.codec) as source:
            table = open_table(source)
            importer = job.importer(settings, database)
            importer.check_header(table.header)
            chunks = stored(table, importer)
            with (
                _progress("importing", files.size_of(source)) as show,
                _Refused(job.target, job.encoding, table) as sink,
            ):
                async with contextlib.aclosing(chunks):
                    async for done in chunks:
                        sink.write(done.refused)
                        counts.add(done)
                        show(files.place_in(source))
    except (UnicodeDecodeError, csv.Error) as error:
        lines_done = counts.stored + counts.repeated + counts.refused
        raise BadFile(
            f"{job.file} cannot be read after its first {lines_done} lines: {error}. It has to be a CSV in {job.encoding.value}"
            f"{'; a file of Excel in Russian needs --encoding cp1251' if job.encoding is Encoding.UTF_8 else ''}. "
            "Fix it and import it again: nothing is stored twice."
        ) from error
    finally:
        await database.close()
    return counts, clock() - started


async def stored(table: Table, importer: Importer[_Row]) -> AsyncGenerator[Imported]:
    """What became of the lines, in their order. The next ones are read and checked while the database stores the last."""
    chunks = table.chunks(_LINES_AT_A_TIME)

    async def read() -> Checked[_Row] | None:
        lines = await asyncio.to_thread(next, chunks, None)
        return None if lines is None else await importer.check(table, lines)

    ahead = asyncio.create_task(read())
    try:
        while (checked := await ahead) is not None:
            ahead = asyncio.create_task(read())
            yield await importer.store(checked)
        await importer.finish()
    except (UnicodeDecodeError, csv.Error):  # of what comes next: what is stored is finished first
        await importer.finish()
        raise
    finally:
        await asyncio.gather(ahead, return_exceptions=True)  # the file is closed next: no thread may be reading it


class _Refused:
    """The file of refused lines; made at the first of them, so that an import without any touches no file."""

    def __init__(self, target: Path, encoding: Encoding, table: Table) -> None:
        self._target, self._encoding, self._table = target, encoding, table
        self._file: TextIO | None = None

    def write(self, refused: Sequence[tuple[Line, str]]) -> None:
        """The reason in front: behind a line with too many fields it would be in another line's column."""
        if not refused:
            return
        rows = [[reason, *line] for line, reason in refused]
        try:
            if self._file is None:
                self._file = self._target.open("w", newline="", encoding=self._encoding.value)
                rows.insert(0, [REASON, *self._table.header])
            csv.writer(self._file, delimiter=self._table.separator).writerows(rows)
            self._file.flush()
        except OSError as error:
            raise BadFile(
                f"refused lines cannot be written to {self._target}: {error.strerror}. What could be stored up to there is stored. "
                "Name another file with --refused and import all of it again: nothing is stored twice."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError) if kind is not None else contextlib.nullcontext():  # said already
                self._file.close()


def export(
    period: Annotated[str, typer.Argument(help="A month, such as 2026-11.")],
    file: Annotated[Path, typer.Argument(help="The file to write, or - for standard output.")],
) -> None:
    """Write all readings of a period to a CSV for billing."""
    settings = Settings()
    try:
        month = date.fromisoformat(f"{period}-01")
    except ValueError:
        raise typer.BadParameter(f"{period!r} is not a month such as 2026-11", param_hint="PERIOD") from None
    with database_with_schema(settings) as dsn:
        rows = stopping.run(_export(settings, dsn, month, file))
    where = "on standard output" if file == files.STANDARD else f"in {file}"
    typer.echo(f"{rows} readings of {period} are {where}.", err=file == files.STANDARD)


async def _export(settings: Settings, dsn: str, month: date, file: Path) -> int:
    database = database_of(settings, dsn)
    rows = 0
    try:
        with files.written(file) as sink, _progress("exporting", None) as show:
            sink.write(HEADER_OUT)
            async for page in PostgresReader(database, None, 0, _TIMEOUT_S).export(month):
                sink.write(csv_lines(page))
                rows += len(page)
                show(rows)
    finally:
        await database.close()
    return rows
