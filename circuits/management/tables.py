"""Tables for people at a shell: rich draws them on a terminal, plain text is for all else.

What is piped is one line for each row, so that ``grep`` and ``awk`` can work with it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

from django.core.management.base import OutputWrapper

GAP: Final = "  "

#: How many rows a table has at most where a terminal sets no limit.
MOST_ROWS: Final = 1_000

_UNITS: Final = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


@dataclass(frozen=True, slots=True)
class Cell:
    """A text of a table, and the style that rich gives it. The text is never taken for markup."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Strip(Cell):
    """A cell whose end is kept where there is no room for all, with a style for each character."""

    styles: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table to show.

    Args:
        columns: The titles of its columns.
        rows: As many cells each.
        above: What stands in a line above it, if anything.
        below: What stands in a line below it, if anything.
        is_dense: Draw each row in one line, and shorten what a terminal has no room for.
        least: To how many places each column of a dense table may be shortened.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    above: Sequence[Cell] = ()
    below: str = ""
    is_dense: bool = False
    least: Sequence[int] = ()

    def cleaned(self, encoding: str) -> Table:
        """Return the table with nothing in it that could do harm on a terminal."""

        def cleaned(cells: Sequence[Cell]) -> Sequence[Cell]:
            return [replace(cell, text=clean(cell.text, encoding)) for cell in cells]

        return replace(
            self,
            columns=[clean(title, encoding) for title in self.columns],
            rows=[cleaned(row) for row in self.rows],
            above=cleaned(self.above),
            below=clean(self.below, encoding),
        )


class Live(Protocol):
    """Where one table takes the place of another."""

    def show(self, table: Table) -> None:
        """Show a table in place of the one before."""

    def note(self, text: str) -> None:
        """Add one line that stays until the next table is shown."""


class Screen(Protocol):
    """Where tables are shown."""

    def show(self, table: Table) -> None:
        """Show the table."""

    def live(self) -> AbstractContextManager[Live]:
        """Return a context whose value shows each table in place of the one before."""

    def most_rows(self) -> int:
        """Return how many rows of a dense table there is room for, beside a note."""


class PlainScreen:
    """Shows tables as aligned text."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out

    def show(self, table: Table) -> None:
        """Write the table, and nothing that is not in it."""
        for line in _lines(table.cleaned(encoding_of(self._out))):
            self._out.write(line)
        self._out.flush()

    @contextmanager
    def live(self) -> Iterator[Live]:
        """Yield what writes one table after the other, with an empty line after each."""
        yield _PlainLive(self, self._out)

    def most_rows(self) -> int:
        """Return how many rows there is use for."""
        return MOST_ROWS


class _PlainLive:
    def __init__(self, where: PlainScreen, out: OutputWrapper) -> None:
        self._where = where
        self._out = out

    def show(self, table: Table) -> None:
        self._where.show(table)
        self._end()

    def note(self, text: str) -> None:
        self._out.write(clean(text, encoding_of(self._out)))
        self._end()

    def _end(self) -> None:
        self._out.write()
        self._out.flush()


def clean(text: str, encoding: str = "utf-8") -> str:
    """Return the text without what could steer a terminal or cannot be written to it."""
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    return shown.encode(encoding, "replace").decode(encoding)


def encoding_of(out: OutputWrapper) -> str:
    """Return the encoding of a command's output."""
    return getattr(out, "encoding", None) or "utf-8"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, as ``3 min 20 s``."""
    for large, large_unit, small, small_unit in _UNITS:
        if seconds >= large:
            more = seconds % large // small
            return f"{seconds // large:.0f} {large_unit} {more:.0f} {small_unit}"
    return f"{seconds:.1f} s"


def _lines(table: Table) -> Iterator[str]:
    if table.above:
        yield GAP.join(cell.text for cell in table.above)
    yield from _aligned(table)
    if table.below:
        yield table.below


def _aligned(table: Table) -> Iterator[str]:
    lines = [table.columns, *([cell.text for cell in row] for row in table.rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (
            text + " " * (width - _width(text)) for text, width in zip(line, widths, strict=True)
        )
        yield GAP.join(padded).rstrip()


def _width(text: str) -> int:
    """The places a text takes on a terminal: a Chinese character takes two, an accent none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
