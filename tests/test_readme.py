"""Checks that the README is short, true, and readable wherever it is shown."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_the_snippets_are_python() -> None:
    snippets = re.findall(r" *```python\n(.*?)```", README, re.DOTALL)
    assert len(snippets) > 3
    for snippet in snippets:
        compile(textwrap.dedent(snippet), "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_its_commands_are_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"^ {4}make ([a-z-]+)|`make ([a-z-]+)`", README, re.MULTILINE)
    assert {"demo", "run", "test"} <= {line or inline for line, inline in named} <= {*targets}


def test_it_shows_nothing_that_an_index_cannot() -> None:
    assert not re.search(r"<[a-z]+[ >]|```mermaid", README)


def test_its_pictures_are_there_and_told_in_words() -> None:
    """A package index shows the README without its pictures."""
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert len(pictures) == README.count("![") == 1
    for words, file in pictures:
        assert len(words) > 50
        assert (ROOT / file).is_file()


def test_every_page_of_the_docs_is_in_it() -> None:
    inside = {"index.md", "api.md", "changelog.md", "contributing.md"}
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", README))
    assert linked == pages - {f"docs/{name}" for name in inside}


@pytest.mark.parametrize("own", [None, [], ["shop.routers.Replicas"]])
def test_the_quick_start_leaves_the_routers_of_a_site_where_they_are(own: list[str] | None) -> None:
    (line,) = re.findall(r"^DATABASE_ROUTERS = .*$", README, re.MULTILINE)
    settings: dict[str, object] = {} if own is None else {"DATABASE_ROUTERS": own}
    exec(line, settings)
    assert settings["DATABASE_ROUTERS"] == ["circuits.routers.CircuitsRouter", *(own or [])]
