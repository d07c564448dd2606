"""Checks the docs: every example runs, and tables, links and file names are right."""

from __future__ import annotations

import ast
import doctest
import gc
import re
import textwrap
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

import circuits
from circuits import conf
from circuits.core.policy import POLICY_NAMES, Policy
from circuits.models import POLICY_FIELDS, Circuit
from circuits.process import runtime
from circuits.signals import state_changed
from tests.calls import play
from tests.factories import CircuitFactory
from tests.remotes import answer, remote_that

ROOT = Path(__file__).parents[1]
PAGES = {page.stem: page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))}

#: Pages whose examples build on the reader's own settings and code, so they are only compiled.
FRAGMENTS = {"observability"}


def examples(page: str) -> list[str]:
    return [
        textwrap.dedent(code) for code in re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)
    ]


def circuit(name: str, **policy: Any) -> None:
    CircuitFactory.create(name=name, **policy)


def let_time_pass(seconds: float) -> None:
    Circuit.objects.update(retry_at=F("retry_at") - timedelta(seconds=seconds))
    runtime.forget()


@pytest.fixture
def names(remote: str) -> Iterator[dict[str, Any]]:
    """Yield the names that the examples may use."""
    receivers = list(state_changed.receivers)
    with remote_that(answer(429, Retry_After="45")) as asking:
        yield {
            "circuit": circuit,
            "calls": play,
            "let_time_pass": let_time_pass,
            "circuits": circuits,
            "remote": remote,
            "asking": asking.url,
        }
    state_changed.receivers = receivers
    state_changed.sender_receivers_cache.clear()


@pytest.mark.usefixtures("committed", "faults_allowed")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # a session left to the collector
@pytest.mark.parametrize(
    ("page", "example"),
    [(page, example) for page in PAGES for example in examples(page) if page not in FRAGMENTS],
)
def test_an_example(page: str, example: str, names: dict[str, Any]) -> None:
    exec(compile(example, f"docs/{page}.md", "exec"), names)
    gc.collect()


def test_every_way_in_has_an_example() -> None:
    ways = ["call", "acall", "guard", "protect"]
    classes = ["CircuitBreaker", "CircuitAdapter", "CircuitTransport", "AsyncCircuitTransport"]
    for name in ways + classes:
        assert name in circuits.__all__
        assert any(f"circuits.{name}(" in example for example in examples("calling")), name


def test_the_reference_has_every_public_name() -> None:
    for name in circuits.__all__:
        assert f":: circuits.{name}\n" in PAGES["api"], name


def test_every_policy_field_is_explained() -> None:
    for name in POLICY_NAMES:
        assert name in PAGES["policies"], name


def test_the_fragments_are_python() -> None:
    for page in FRAGMENTS:
        assert examples(page)
        for example in examples(page):
            compile(example, f"docs/{page}.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.usefixtures("committed")
def test_the_tutorial(remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", let_time_pass)
    story = "\n".join(re.findall(r"```pycon\n(.*?)```", PAGES["tutorial"], re.DOTALL))
    story = story.replace("http://127.0.0.1:5000", remote)
    example = doctest.DocTestParser().get_doctest(story, {}, "tutorial", "docs/tutorial.md", 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example, out=said.append)
    assert runner.summarize(verbose=False) == (0, len(example.examples)), "".join(said)
    assert len(example.examples) > 10


def _table(header: str) -> dict[str, str]:
    """Return the first two columns of the table of settings that begins with a header."""
    rows = PAGES["settings"].split(header)[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip().strip("`") for cell in row.split("|")[1:3]] for row in rows if row]
    return dict(cells)


def test_the_settings_table_is_complete_and_true() -> None:
    documented = _table("| key | default | meaning |")
    defaults = conf.Config()
    assert set(documented) == {key.upper() for key in conf.Config.__dataclass_fields__}
    for key in set(documented) - {"DEFAULTS", "CIRCUITS", "NOTIFY"}:
        value = eval(documented[key])
        value = frozenset(value) if key == "FAILURE_STATUSES" else value
        assert value == getattr(defaults, key.lower()), key


def test_the_policy_table_is_complete_and_true() -> None:
    documented = _table("| field | default | meaning |")
    assert set(documented) == set(POLICY_FIELDS)
    for name in POLICY_NAMES:
        assert documented[name] == f"{getattr(Policy(), name)}".removesuffix(".0"), name
    assert float(documented["timeout"]) == conf.DEFAULT_TIMEOUT


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as repositories and the site make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name
)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Sphinx checks only the pages in docs/; this also checks how a repository shows the pages."""
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor:
            assert anchor in _anchors(linked.read_text()), target


def test_every_file_that_is_named_exists() -> None:
    texts = [*PAGES.values(), *(page.read_text() for page in ROOT.glob("*.md"))]
    named = {
        name for text in texts for name in re.findall(r"`((?:tests|bench|docs)/[\w./-]+)`", text)
    }
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).exists(), name
