"""The README's story is run as it stands, and its snippets are real."""

from __future__ import annotations

import ast
import doctest
import re
import textwrap
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import F

from circuits import breaker, conf
from circuits.machine import POLICY_NAMES, Policy
from circuits.models import POLICY_FIELDS, Circuit

README = (Path(__file__).parent.parent / "README.md").read_text()


def _let_time_pass(seconds: float) -> None:
    """What sleeping would do: the row's times are that much longer ago."""
    Circuit.objects.update(retry_at=F("retry_at") - timedelta(seconds=seconds))
    breaker.forget()


@pytest.mark.usefixtures("committed")
def test_the_story_by_hand(remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", _let_time_pass)
    story = "\n".join(re.findall(r"```pycon\n(.*?)```", README, re.DOTALL))
    story = story.replace("http://127.0.0.1:5000", remote)
    example = doctest.DocTestParser().get_doctest(story, {}, "README", "README.md", 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example, out=said.append)
    assert runner.summarize(verbose=False) == (0, len(example.examples)), "".join(said)
    assert len(example.examples) > 10


def test_the_other_snippets_are_python() -> None:
    snippets = re.findall(r" *```python\n(.*?)```", README, re.DOTALL)
    assert len(snippets) > 3
    for snippet in snippets:
        compile(textwrap.dedent(snippet), "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _table(header: str) -> dict[str, str]:
    """The first two columns of the table with the header."""
    rows = README.split(header)[1].split("\n\n")[0].splitlines()[2:]
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
