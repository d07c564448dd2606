"""Tables for people at a shell: drawn by rich on a terminal, written as plain text elsewhere.

Plain text has one line for each row, so that ``grep`` and ``awk`` can work with it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

from django.core.management.base import OutputWrapper

GAP: Final = "  "

#: The most rows of a table that no terminal limits.
MOST_ROWS: Final = 1_000

_UNITS: Final = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: a text, never read as markup, and the style that rich gives it."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Strip(Cell):
    """A cell with a style for each character. If there is too little room, its end is kept."""

    styles: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table to show.

    Args:
        columns: The titles of the columns.
        rows: The rows; each has one cell for each column.
        above: The cells of a line above the table, if there is to be one.
        below: The line below the table, if there is to be one.
        is_dense: Draw each row in one line, and shorten cells that do not fit the terminal.
        least: For each column of a dense table, the fewest places it may be shortened to.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    above: Sequence[Cell] = ()
    below: str = ""
    is_dense: bool = False
    least: Sequence[int] = ()

    def cleaned(self, encoding: str) -> Table:
        """Return the table without characters that could steer a terminal."""

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
    """A place on a screen where each table replaces the one before."""

    def show(self, table: Table) -> None:
        """Show a table, replacing the one before."""

    def note(self, text: str) -> None:
        """Add one line that stays until the next table is shown."""


class Screen(Protocol):
    """Something that tables are shown on."""

    def show(self, table: Table) -> None:
        """Show the table."""

    def live(self) -> AbstractContextManager[Live]:
        """Return a context manager for tables that replace each other."""

    def most_rows(self) -> int:
        """Return how many rows of a dense table fit on the screen together with a note."""


class PlainScreen:
    """A screen that writes tables as aligned plain text."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out

    def show(self, table: Table) -> None:
        """Write the table."""
        for line in _lines(table.cleaned(encoding_of(self._out))):
            self._out.write(line)
        self._out.flush()

    @contextmanager
    def live(self) -> Iterator[Live]:
        """Yield a writer of one table after the other, with an empty line after each."""
        yield _PlainLive(self, self._out)

    def most_rows(self) -> int:
        """Return a generous limit, since a pipe or a file has none."""
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
    """Replace the characters of a text that could steer a terminal or cannot be encoded."""
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    return shown.encode(encoding, "replace").decode(encoding)


def encoding_of(out: OutputWrapper) -> str:
    """Return the encoding of a command's output."""
    return getattr(out, "encoding", None) or "utf-8"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as ``3 min 20 s``."""
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
    """Return the places a text takes on a terminal: 2 for a Chinese character, 0 for an accent."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
