"""Plots are drawn for what can be drawn, and drawing again gives the same file."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import plots

from .samples import report

pytest.importorskip("matplotlib", reason="only `make bench` installs it")


def test_they_are_svg_with_the_names_in_them(tmp_path: Path) -> None:
    plots.draw(report(), tmp_path)
    bars, curves = ((tmp_path / f"{name}.svg").read_text() for name in ("hot", "fleet"))
    for text in (bars, curves):
        assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "no breaker" in bars
    assert "420 ns" in bars
    assert "a model" in curves


def test_drawing_again_changes_nothing(tmp_path: Path) -> None:
    plots.draw(report(), tmp_path / "one")
    plots.draw(report(), tmp_path / "other")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes()
