"""An import's two halves, reading and storing, side by side: what is stored, in which order, and what a broken file leaves."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator, Sequence

import pytest

from energy.cli import transfer
from energy.cli.import_rows import Checked, Imported
from energy.cli.table import Line, Table


class Slow:
    """An importer whose first lines are stored only once the next ones have been looked at."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.stored: list[str] = []
        self.finished = False
        self._second = asyncio.Event()

    def check_header(self, header: Sequence[str]) -> None:
        pass

    async def check(self, table: Table, lines: Sequence[Line]) -> Checked[str]:
        assert table.header == ("n",)
        self.looked_at += 1
        if self.looked_at == 2:
            self._second.set()
        return Checked([(line, line[0]) for line in lines])

    async def store(self, checked: Checked[str]) -> Imported:
        await self._second.wait()
        self.stored += [row for _, row in checked.rows]
        return Imported(len(checked.rows))

    async def finish(self) -> None:
        self.finished = True


def lines(most: int) -> Iterator[Line]:
    yield from ([str(n)] for n in range(most))


@pytest.fixture(autouse=True)
def two_lines_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_LINES_AT_A_TIME", 2)


async def test_the_next_lines_are_looked_at_while_the_last_are_stored() -> None:
    importer = Slow()
    async with asyncio.timeout(10):
        done = [each.stored async for each in transfer.stored(Table(("n",), ",", None, lines(5)), importer)]
    assert done == [2, 2, 1]
    assert importer.stored == ["0", "1", "2", "3", "4"]
    assert importer.finished


async def test_a_file_that_breaks_off_leaves_all_before_it_stored_and_finished() -> None:
    def break_off(line: Line) -> Line:
        if line == ["4"]:
            raise csv.Error("a quote that never ends")
        return line

    importer = Slow()
    table = Table(("n",), ",", None, map(break_off, lines(5)))
    with pytest.raises(csv.Error):
        async for _ in transfer.stored(table, importer):
            pass
    assert importer.stored == ["0", "1", "2", "3"]
    assert importer.finished
