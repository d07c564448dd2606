"""Chooses the screen on which a command shows its tables."""

from __future__ import annotations

from importlib.util import find_spec

from django.core.management.base import OutputWrapper

from .tables import PlainScreen, Screen


def screen(out: OutputWrapper, *, no_color: bool = False, force_color: bool = False) -> Screen:
    """Return a screen drawn by rich for a terminal if rich is installed, else a plain one.

    Args:
        out: The command's output.
        no_color: Draw without colours.
        force_color: Treat the output as a terminal with colours, whatever it is.
    """
    if (force_color or out.isatty()) and find_spec("rich"):
        from .terminal import RichScreen

        return RichScreen(out, no_color=no_color, force_color=force_color)
    return PlainScreen(out)
