"""Writes what a run found: `site.json`, the plot, docs/benchmarks.md and the README."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..report import counted_rows, fill_part, markdown
from ..results import Report, load
from . import plot
from .figures import told

#: The name of the markers in both pages.
MARKER: Final = "site"

#: The page with the whole table, and the README beside the docs.
PAGE, README = "benchmarks.md", "README.md"


def write(report: Report, folder: Path) -> None:
    """Write the JSON, the plot and what the pages say of it."""
    file = folder / "site.json"
    report.save(file)
    report = load(file)  # which leaves out digits that the pages must not show either
    [result] = report.results
    plot.draw(result, folder / "benchmarks" / "site.svg")
    for page, fill in ((folder / PAGE, filled_page), (folder.parent / README, filled_readme)):
        page.write_text(fill(page.read_text(), report))


def filled_page(page: str, report: Report) -> str:
    """Return docs/benchmarks.md with the figures, and with what they were measured on."""
    [result] = report.results
    ran_on = [["what", "which"], *([key, each] for key, each in report.environment.items())]
    parts = (told(result, "benchmarks"), markdown(counted_rows(result)), "", markdown(ran_on))
    return fill_part(page, MARKER, "\n".join(parts))


def filled_readme(page: str, report: Report) -> str:
    """Return the README with the plot and the figures below it."""
    [result] = report.results
    return fill_part(page, MARKER, told(result, "docs/benchmarks"))
