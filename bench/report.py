"""Presents the results of a run: on the terminal, and as Markdown and plots in the docs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .results import Ratio, Report, Result, load

#: Nanoseconds in each unit of time, the largest first. A time is shown in the first that it fills.
UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))


def duration(nanoseconds: float) -> str:
    """Return a time with three significant digits and a fitting unit, such as ``1.4 µs``."""
    size, unit = next((each for each in UNITS if nanoseconds >= each[0]), UNITS[-1])
    return f"{_number(nanoseconds / size)} {unit}"


def _number(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


# Tables ------------------------------------------------------------------------------------------

Rows = list[list[str]]


def timing_rows(result: Result) -> Rows:
    """Return the table of a case's timings, the heading first and then the fastest contender."""
    heading = ["contender", "median", "p99", f"to {result.baseline}"]
    by_speed = sorted(result.timings.items(), key=lambda item: item[1].median)
    return [heading] + [
        [name, duration(timing.median), duration(timing.p99), f"{result.to_baseline(name):.2f}"]
        for name, timing in by_speed
    ]


def counted_rows(result: Result) -> Rows:
    """Return the table of a case's counts, the heading first; an empty list if it has none."""
    if result.table is None:
        return []
    return [
        [*result.table.columns],
        *([_number(cell) for cell in row] for row in result.table.rows),
    ]


def ratio_rows(ratios: Sequence[tuple[str, Ratio]]) -> Rows:
    """Return the table of some named ratios, the heading first."""
    return [
        ["ratio", "value", "limit", ""],
        *([name, _number(each.value), *_verdict(each)] for name, each in ratios),
    ]


def _verdict(ratio: Ratio) -> list[str]:
    if ratio.limit is None:
        return ["", "watched"]
    return [_number(ratio.limit), "missed" if ratio.is_missed else "reached"]


def tables(result: Result) -> Iterator[Rows]:
    """Yield the tables of a case that are not empty."""
    if result.timings:
        yield timing_rows(result)
    if result.table is not None:
        yield counted_rows(result)
    if result.ratios:
        yield ratio_rows([(each.name, each) for each in result.ratios])


# On the terminal ---------------------------------------------------------------------------------


def show(result: Result) -> None:
    """Print the tables of a case on the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.rule(f"{result.name}: {result.title}", align="left")
    for heading, *rows in tables(result):
        table = Table(*heading[:1])
        for column in heading[1:]:
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(*row, style="red" if row[-1] == "missed" else None)
        console.print(table)


# In the docs -------------------------------------------------------------------------------------


def markdown(rows: Rows) -> str:
    """Return a table in Markdown, with every column but the first aligned to the right."""
    heading, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    rule = ["---", *("---:" for _ in heading[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *body))


def fill(page: str, report: Report) -> str:
    """Return a page in which the report replaces the text between the markers.

    A part begins at ``<!-- bench: NAME -->``, where the name is that of a case, ``environment`` or
    ``targets``, and ends at ``<!-- /bench -->``.

    Raises:
        ValueError: The page has no marker for a case of the report.
    """
    parts = {result.name: _section(result) for result in report.results}
    parts["environment"] = _environment(report)
    parts["targets"] = _targets(report)
    for name, text in parts.items():
        page = fill_part(page, name, text)
    return page


def fill_part(page: str, name: str, text: str) -> str:
    """Return a page in which ``text`` replaces the part called ``name``; see :func:`fill`.

    Raises:
        ValueError: The page has no marker of that name.
    """
    marker = f"<!-- bench: {name} -->\n"
    before, found, rest = page.partition(marker)
    if not found:
        raise ValueError(f"The page has no marker {marker.strip()} for these results: add one.")
    _, end, after = rest.partition("<!-- /bench -->")
    return f"{before}{marker}{text}\n{end}{after}"


def _section(result: Result) -> str:
    parts = [f"{result.title}.", *(markdown(rows) for rows in tables(result))]
    if result.has_plot:
        parts.insert(1, f"![{result.title}](benchmarks/{result.name}.svg)")
    return "\n\n".join(parts)


def _environment(report: Report) -> str:
    rows = [["what", "which"], *([key, value] for key, value in report.environment.items())]
    return markdown([*rows, ["rounds", str(report.rounds)]])


def _targets(report: Report) -> str:
    limited = [(name, each) for name, each in report.ratios().items() if each.limit is not None]
    return markdown(ratio_rows(limited))


def write(report: Report, folder: Path) -> None:
    """Write ``benchmarks.json`` and the plots to a folder, and update its ``benchmarks.md``."""
    from . import plots

    file = folder / "benchmarks.json"
    report.save(file)
    report = load(file)  # without the digits that were rounded away, so that the page agrees
    page = folder / "benchmarks.md"
    page.write_text(fill(page.read_text(), report))
    plots.draw(report, folder / "benchmarks")
