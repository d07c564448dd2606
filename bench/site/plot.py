"""Draws what an outage costs a site, for light pages and dark ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..plots import OURS, STYLE, THEIRS
from ..results import Result
from . import contenders
from .figures import column, total_requests

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK: Final = "#1f2328"
PAPER: Final = "#ffffff"

#: The colour that replaces each one where the reader prefers dark pages. The plot has a background
#: of its own, so it can be read on either kind of page.
DARK: Final = {PAPER: "#0d1117", INK: "#e6edf3", OURS: "#58a6ff", THEIRS: "#6e7681"}

#: The element of the SVG before which the style sheet goes.
_DEFINITIONS: Final = "<defs>"


def draw(result: Result, file: Path) -> None:
    """Draw the two counts of each contender as bars, side by side, into an SVG file."""
    import matplotlib as mpl

    mpl.use("svg")
    inks = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK)
    ticks = dict.fromkeys(("xtick.color", "ytick.color"), INK)
    with mpl.rc_context({**STYLE, **inks, **ticks, "savefig.facecolor": PAPER}):
        _draw(result, file)
    text = file.read_text().replace(_DEFINITIONS, f"{_style_sheet()}\n {_DEFINITIONS}", 1)
    # Matplotlib leaves blanks at the ends of lines.
    file.write_text("\n".join(map(str.rstrip, text.splitlines())) + "\n")


def _draw(result: Result, file: Path) -> None:
    from matplotlib.figure import Figure

    file.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    number = total_requests(result)
    _bars(left, column(result, 1), f"requests of another page, of {number},\nover 250 ms or lost")
    _bars(right, column(result, 3), "calls that went\nto the dead remote")
    figure.savefig(file, metadata={"Date": None})


def _bars(axes: Axes, counts: dict[str, int], label: str) -> None:
    names = list(reversed(counts))
    colours = [OURS if name.startswith(contenders.OURS) else THEIRS for name in names]
    bars = axes.barh(names, [counts[name] for name in names], color=colours)
    axes.bar_label(bars, [f"{counts[name]:,}" for name in names], padding=3)
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(left=False)
    axes.set_title(label, fontsize=9, loc="left")


def _style_sheet() -> str:
    """Return a style sheet that replaces each colour by its dark one."""
    rules = " ".join(
        f'[style*="{kind}: {light}"] {{ {kind}: {dark} !important; }}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    return f"<style>@media (prefers-color-scheme: dark) {{ {rules} }}</style>"
