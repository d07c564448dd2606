"""Tables in the docs are written between their markers, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import markers


def test_a_text_replaces_the_one_between_its_markers_however_often(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- one -->\n<!-- /one -->\n<!-- two -->\nb\n<!-- /two -->\n")
    for text in ("first", "second"):
        markers.write(page, "one", text)
    assert page.read_text() == (
        "a\n<!-- one -->\n\nsecond\n\n<!-- /one -->\n<!-- two -->\nb\n<!-- /two -->\n"
    )


def test_a_page_without_the_markers_is_refused_by_name(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- one -->\n")
    with pytest.raises(ValueError, match=r"page\.md needs the markers <!-- one -->"):
        markers.write(page, "one", "text")


def test_a_table_has_a_line_for_its_head_and_one_for_each_row() -> None:
    assert markers.table(["a", "b"], [[1, 2]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
