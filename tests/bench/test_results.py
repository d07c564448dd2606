"""Reports are written to a file and read back, and merged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.results import Ratio, Result, load

from .samples import report


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "new" / "benchmarks.json"
    report().save(file)
    assert load(file) == report()


def test_digits_that_no_measurement_has_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.json"
    report(protect=0.123456789).save(file)
    assert load(file).ratios()["hot: protect / a peer"].value == 0.12346


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"environment": {}, "rounds": 1}'])
def test_a_file_without_a_report(tmp_path: Path, text: str) -> None:
    file = tmp_path / "benchmarks.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="holds no results to compare with") as caught:
        load(file)
    assert "run `make bench`" in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no results to compare with"):
        load(tmp_path / "benchmarks.json")


def test_the_file_can_be_read_by_others(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.json"
    report().save(file)
    [hot, fleet] = json.loads(file.read_text())["results"]
    assert hot["timings"]["protect"]["rounds"] == [400.0, 800.0, 420.0]
    assert fleet["table"]["rows"][1] == ["64", 333.0]


def test_some_cases_take_their_place_among_the_others() -> None:
    [hot, fleet] = report(protect=0.3).results
    new = Result(name="new", title="A new case")
    both = replace(
        report(), results=(hot, new), environment={"Python": "3.11", "a peer": "2"}
    ).over(report(protect=0.4))
    assert both.results == (hot, fleet, new)
    assert both.environment == {"Python": "3.11", "processors": "2 x fast", "a peer": "2"}


@pytest.mark.parametrize(
    ("change", "what"),
    [({"environment": {"Python": "3.13"}}, "Python 3.11"), ({"rounds": 9}, "rounds 3")],
)
def test_what_ran_elsewhere_is_not_put_among_them(change: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=f"The earlier results have {what} and these have"):
        replace(report(), **change).over(report())


@pytest.mark.parametrize(
    ("value", "limit", "missed"), [(0.5, 0.5, False), (0.51, 0.5, True), (99, None, False)]
)
def test_a_limit(value: float, limit: float | None, missed: bool) -> None:
    assert Ratio(name="r", value=value, limit=limit).is_missed is missed


def test_a_contender_is_told_by_the_baseline() -> None:
    [hot, _] = report().results
    assert hot.to_baseline("protect") == 0.4
