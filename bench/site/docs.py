"""Writes the results of a run to `site.json`, the plot, docs/benchmarks.md and the README."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..report import counted_rows, fill_part, markdown
from ..results import Report, load
from . import plot
from .figures import summary

#: The name of the markers in both pages.
MARKER: Final = "site"

#: The page that gets the whole table, and the README, which lies beside the docs.
PAGE, README = "benchmarks.md", "README.md"


def write(report: Report, folder: Path) -> None:
    """Write the JSON and the plot, and update both pages.

    Args:
        folder: The folder of the docs.
    """
    file = folder / "site.json"
    report.save(file)
    report = load(file)  # without the digits that were rounded away, so that the pages agree
    [result] = report.results
    plot.draw(result, folder / "benchmarks" / "site.svg")
    for page, fill in ((folder / PAGE, filled_page), (folder.parent / README, filled_readme)):
        page.write_text(fill(page.read_text(), report))


def filled_page(page: str, report: Report) -> str:
    """Return docs/benchmarks.md with the figures and the versions that they were measured on."""
    [result] = report.results
    ran_on = [["what", "which"], *([key, each] for key, each in report.environment.items())]
    parts = (summary(result, "benchmarks"), markdown(counted_rows(result)), "", markdown(ran_on))
    return fill_part(page, MARKER, "\n".join(parts))


def filled_readme(page: str, report: Report) -> str:
    """Return the README with the plot and the figures below it."""
    [result] = report.results
    return fill_part(page, MARKER, summary(result, "docs/benchmarks"))
