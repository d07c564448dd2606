"""Draws the results of a run as SVG files for the docs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .report import duration
from .results import Curves, Report, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS: Final = "#0b5394"
THEIRS: Final = "#b0b0b0"

#: Words in the names of our own contenders; all other contenders are peers.
OWN_WORDS: Final = ("protect", "guard", "make_remote_call", "acall", "circuits")

#: The style of a plot. The fixed salt makes drawing the same results again change nothing.
STYLE: Final[dict[str, Any]] = {
    "svg.hashsalt": "circuits",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(report: Report, folder: Path) -> None:
    """Draw each case that has something to draw into ``<name of the case>.svg``."""
    import matplotlib as mpl

    mpl.use("svg")
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for result in report.results:
            if result.has_plot:
                _draw(result, folder / f"{result.name}.svg")


def _draw(result: Result, file: Path) -> None:
    from matplotlib.figure import Figure

    height = 4.0 if result.curves else 1.0 + 0.3 * len(result.timings)
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    if result.curves is not None:
        _draw_curves(axes, result.curves)
    else:
        _draw_bars(axes, result)
    figure.savefig(file, metadata={"Date": None})
    # Matplotlib leaves blanks at the ends of lines.
    file.write_text("\n".join(map(str.rstrip, file.read_text().splitlines())) + "\n")


def _draw_bars(axes: Axes, result: Result) -> None:
    """Draw the median of each contender as a bar and its p99 as a mark, the fastest on top."""
    by_speed = sorted(result.timings.items(), key=lambda item: -item[1].median)
    names = [name for name, _ in by_speed]
    medians = [timing.median / 1000 for _, timing in by_speed]
    colours = [OURS if any(word in name for word in OWN_WORDS) else THEIRS for name in names]
    bars = axes.barh(names, medians, color=colours)
    axes.bar_label(bars, [duration(timing.median) for _, timing in by_speed], padding=3)
    axes.plot([timing.p99 / 1000 for _, timing in by_speed], names, "k|", label="p99")
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.set_xlabel("µs a call")
    axes.legend(loc="lower right", frameon=False)


def _draw_curves(axes: Axes, curves: Curves) -> None:
    """Draw measurements as points, and what a model predicts as lines."""
    for name, points in curves.lines.items():
        x, y = zip(*points, strict=True)
        axes.plot(x, y, "o" if name.endswith("measured") else "-", label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(curves.x)
    axes.set_ylabel(curves.y)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.legend(frameon=False)
