"""Tables drawn by rich, an optional dependency: only imported where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import rich.table
from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.live import Live
from rich.text import Text

from .tables import Table, encoding_of


class RichScreen:
    """Shows tables with colours, folded to the width of the terminal, never cut off.

    Args:
        out: The command's output.
        no_color: Draw without colours.
        force_color: Take the output for a terminal with colours, whatever it is.
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
    def live(self) -> Iterator[Callable[[Table], None]]:
        """Yield what draws each table in place of the one before; the last one stays.

        On the terminal's second screen, so that log lines do not shift the drawing.
        """
        last: list[rich.table.Table] = []
        with Live(console=self._console, screen=True, auto_refresh=False) as live:

            def show(table: Table) -> None:
                last[:] = [self._drawn(table)]
                live.update(last[0], refresh=True)

            yield show
        self._console.print(*last, end="")

    def _drawn(self, table: Table) -> rich.table.Table:
        table = table.cleaned(self._encoding)
        drawn = rich.table.Table()
        for title in table.columns:
            drawn.add_column(Text(title), overflow="fold")
        for row in table.rows:
            drawn.add_row(*(Text(cell.text, cell.style) for cell in row))
        return drawn


class _AsIs:
    """A command's output without the line end that it adds to each write."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)

    def write(self, text: str) -> None:
        """Write the text and nothing more."""
        self._out.write(text, ending="")
