"""Tables for the terminal and the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cases import CASES
from bench.report import counted_rows, duration, fill, markdown, ratio_rows, show, timing_rows
from bench.results import load

from .samples import report

DOCS = Path(__file__).parents[2] / "docs"

PAGE = "".join(
    f"# {name}\n<!-- bench: {name} -->\nold\n<!-- /bench -->\n\n"
    for name in ("hot", "fleet", "environment", "targets")
)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0.5, "0.5 ns"),
        (59.44, "59.4 ns"),
        (999, "999 ns"),
        (1402, "1.4 µs"),
        (300_000, "300 µs"),
        (16_000_000, "16 ms"),
        (2_500_000_000, "2.5 s"),
    ],
)
def test_a_duration(nanoseconds: float, text: str) -> None:
    assert duration(nanoseconds) == text


def test_timings_come_fastest_first() -> None:
    [hot, _] = report().results
    assert timing_rows(hot) == [
        ["contender", "median", "p99", "to a peer"],
        ["no breaker", "60 ns", "70 ns", "0.05"],
        ["protect", "420 ns", "900 ns", "0.40"],
        ["a peer", "1.05 µs", "4 ms", "1.00"],
    ]


def test_what_was_counted() -> None:
    _, fleet = report().results
    assert counted_rows(fleet) == [["processes", "a | b"], ["1", "5.2"], ["64", "333"]]


def test_each_ratio_has_its_verdict() -> None:
    rows = ratio_rows([*report(protect=0.6).ratios().items()])
    assert rows[1:] == [
        ["hot: protect / a peer", "0.6", "0.5", "missed"],
        ["hot: guard / a peer", "1.2", "", "watched"],
        ["fleet: queries", "1", "1", "reached"],
    ]


def test_markdown() -> None:
    assert markdown([["a", "b | c"], ["1", "2"]]) == "| a | b \\| c |\n| --- | ---: |\n| 1 | 2 |"


def test_a_page_is_filled_between_its_markers_alone() -> None:
    page = fill(PAGE, report())
    assert "old" not in page
    assert "# hot\n<!-- bench: hot -->\nA call.\n\n![A call](benchmarks/hot.svg)\n" in page
    assert "| protect | 420 ns | 900 ns | 0.40 |" in page
    assert "| Python | 3.11 |" in page
    assert fill(page, report()) == page


def test_targets_are_the_ratios_with_a_limit() -> None:
    targets = fill(PAGE, report()).split("<!-- bench: targets -->")[1]
    assert "protect / a peer" in targets
    assert "guard" not in targets


def test_a_page_without_a_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="no marker <!-- bench: fleet -->"):
        fill(PAGE.replace("bench: fleet", "bench: navy"), report())


def test_the_terminal_shows_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    for result in report().results:
        show(result)
    said = capsys.readouterr().out
    for text in ("hot: A call", "protect", "420 ns", "reached", "processes", "333"):
        assert text in said


def test_the_docs_say_what_the_results_do() -> None:
    kept = load(DOCS / "benchmarks.json")
    page = (DOCS / "benchmarks.md").read_text()
    assert fill(page, kept) == page
    assert [result.name for result in kept.results] == [case.name for case in CASES]
    for result in kept.results:
        assert (DOCS / "benchmarks" / f"{result.name}.svg").is_file() == result.has_plot
