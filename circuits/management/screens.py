"""Which screen a command shows its tables on."""

from __future__ import annotations

from importlib.util import find_spec

from django.core.management.base import OutputWrapper

from .tables import PlainScreen, Screen


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
