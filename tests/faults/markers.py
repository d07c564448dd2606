"""Writes tables into the docs, each between two markers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def write(page: Path, name: str, text: str) -> None:
    """Replace the text between a page's markers, ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: The page does not have each marker exactly once.
    """
    found = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    after, times = found.subn(lambda _: f"\n{text.strip()}\n\n", page.read_text())
    if times != 1:
        raise ValueError(f"{page} needs the markers <!-- {name} --> and <!-- /{name} --> once.")
    page.write_text(after)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
