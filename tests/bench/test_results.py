"""A report, to a file and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.results import Ratio, load

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


@pytest.mark.parametrize(
    ("value", "limit", "missed"), [(0.5, 0.5, False), (0.51, 0.5, True), (99, None, False)]
)
def test_a_limit(value: float, limit: float | None, missed: bool) -> None:
    assert Ratio(name="r", value=value, limit=limit).is_missed is missed


def test_a_contender_is_told_by_the_baseline() -> None:
    [hot, _] = report().results
    assert hot.to_baseline("protect") == 0.4
