"""A screen drawn by rich, an optional dependency. Imported only if rich is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final, cast

import rich.live
import rich.table
from django.core.management.base import OutputWrapper
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.text import Text

from .tables import GAP, Cell, Live, Strip, Table, clean, encoding_of

#: The lines of a dense table besides its rows: one above, the titles, their rule, one below.
FRAME: Final = 4

#: The places between two columns of a dense table.
BETWEEN: Final = 2


class RichScreen:
    """A screen that draws tables with colours, in the width of the terminal.

    Long cells are folded; those of a dense table are cut off.

    Args:
        out: The command's output.
        no_color: Draw without colours.
        force_color: Treat the output as a terminal with colours, whatever it is.
    """

    def __init__(self, out: OutputWrapper, *, no_color: bool, force_color: bool) -> None:
        self._encoding = encoding_of(out)
        self._console = Console(
            file=cast(IO[str], _AsIs(out)),
            color_system="standard" if force_color else None if no_color else "auto",
            force_terminal=force_color or None,
        )

    def show(self, table: Table) -> None:
        """Draw the table."""
        self._console.print(self._drawn(table))

    @contextmanager
    def live(self) -> Iterator[Live]:
        """Yield an object that draws each table in place of the one before; the last one stays.

        It draws on the terminal's alternate screen, so that log lines do not shift the table.
        """
        screen = rich.live.Live(console=self._console, screen=True, auto_refresh=False)
        live = _RichLive(screen, self._drawn, self._encoding)
        with screen:
            yield live
        self._console.print(Group(*live.parts), end="")

    def most_rows(self) -> int:
        """Return how many rows of a dense table fit on the terminal together with a note."""
        return max(1, self._console.height - FRAME - 1)

    def _drawn(self, table: Table) -> RenderableType:
        table = table.cleaned(self._encoding)
        parts: list[RenderableType] = [
            _dense(table, self._console.width) if table.is_dense else _folded(table)
        ]
        if table.above:
            above = Text(GAP).join(Text(cell.text, cell.style) for cell in table.above)
            parts.insert(0, _one_line(above))
        if table.below:
            parts.append(_one_line(Text(table.below)))
        return Group(*parts)


def _folded(table: Table) -> rich.table.Table:
    drawn = rich.table.Table()
    for title in table.columns:
        drawn.add_column(Text(title), overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(cell.text, cell.style) for cell in row))
    return drawn


def _dense(table: Table, room: int) -> rich.table.Table:
    """Return a table with one line for each row, ``room`` places wide."""
    drawn = rich.table.Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title, width in zip(table.columns, _widths(table, room), strict=True):
        drawn.add_column(_one_line(Text(title)), width=width)
    for row in table.rows:
        drawn.add_row(*map(_dense_cell, row))
    return drawn


def _widths(table: Table, room: int) -> Sequence[int | None]:
    """Return the width of each column, shortening those first that have most to spare.

    If not even the least widths fit, each width is None, which leaves it to rich.
    """
    cells = [table.columns, *([cell.text for cell in row] for row in table.rows)]
    widths = [max(cell_len(text) for text in column) for column in zip(*cells, strict=True)]
    least = [min(pair) for pair in zip(widths, table.least or widths, strict=True)]
    room -= BETWEEN * (len(widths) - 1)
    if sum(least) > room:
        return [None] * len(widths)
    while sum(widths) > room:
        spare = [width - need for width, need in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    return widths


def _dense_cell(cell: Cell) -> RenderableType:
    text = _one_line(Text(cell.text, cell.style))
    if not isinstance(cell, Strip):
        return text
    for index, style in enumerate(cell.styles):
        text.stylize(style, index, index + 1)
    return _Ending(text)


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


class _Ending:
    """A text of which as much of the end is drawn as there is room for."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, len(self._text)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._text[-options.max_width :]


class _RichLive:
    """Draws on the terminal's alternate screen, and keeps the parts drawn last."""

    def __init__(
        self, screen: rich.live.Live, draw: Callable[[Table], RenderableType], encoding: str
    ) -> None:
        self._screen = screen
        self._draw = draw
        self._encoding = encoding
        self.parts: list[RenderableType] = []

    def show(self, table: Table) -> None:
        self._update([self._draw(table)])

    def note(self, text: str) -> None:
        note = _one_line(Text(clean(text, self._encoding), "bold"))
        self._update([*self.parts[:1], note])

    def _update(self, parts: list[RenderableType]) -> None:
        self.parts = parts
        self._screen.update(Group(*parts), refresh=True)


class _AsIs:
    """A command's output that adds no line end to a write."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)

    def write(self, text: str) -> None:
        """Write the text without a line end."""
        self._out.write(text, ending="")
