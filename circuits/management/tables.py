"""Tables for people at a shell: rich draws them on a terminal, plain text is for all else.

What is piped is one line for each row, so that ``grep`` and ``awk`` can work with it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Protocol

from django.core.management.base import OutputWrapper

GAP: Final = "  "

_UNITS: Final = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


@dataclass(frozen=True, slots=True)
class Cell:
    """A text of a table, and the style that rich gives it. The text is never taken for markup."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table to show: the titles of its columns, and rows of as many cells each."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def cleaned(self, encoding: str) -> Table:
        """Return the table with nothing in it that could do harm on a terminal."""
        return Table(
            [clean(title, encoding) for title in self.columns],
            [[Cell(clean(cell.text, encoding), cell.style) for cell in row] for row in self.rows],
        )


class Screen(Protocol):
    """Where tables are shown."""

    def show(self, table: Table) -> None:
        """Show the table."""

    def live(self) -> AbstractContextManager[Callable[[Table], None]]:
        """Return a context whose value shows each table in place of the one before."""


def screen(out: OutputWrapper, *, no_color: bool = False, force_color: bool = False) -> Screen:
    """Return rich's screen for a terminal if rich is installed, else one of plain text.

    Args:
        out: The command's output.
        no_color: Draw without colours.
        force_color: Take the output for a terminal with colours, whatever it is.
    """
    if (force_color or out.isatty()) and find_spec("rich"):
        from .terminal import RichScreen

        return RichScreen(out, no_color=no_color, force_color=force_color)
    return PlainScreen(out)


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
    def live(self) -> Iterator[Callable[[Table], None]]:
        """Yield what writes one table after the other, with an empty line after each."""

        def show(table: Table) -> None:
            self.show(table)
            self._out.write()
            self._out.flush()

        yield show


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
