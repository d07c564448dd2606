"""The dashboard and the alert rules of the docs use metrics and labels that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from circuits.core.status import Mode, State
from circuits.integrations import metrics
from circuits.process.observers import CallOutcome

FOLDER = Path(__file__).parents[3] / "docs" / "monitoring"

#: The values that a label can have, where they are few.
VALUES: dict[str, Iterable[str]] = {
    "state": set(State),
    "mode": set(Mode),
    "outcome": set(CallOutcome),
    "from": set(State),
    "to": set(State),
}

#: The labels of a metric that is made of others, and the suffixes of its samples.
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}


def exported_labels() -> dict[str, set[str]]:
    """Return the labels of each sample that the app exports, by its name."""
    families = [*metrics.COUNTED_HERE.describe(), *metrics.SHARED_STATE.describe()]
    return {
        family.name + suffix: {*family._labelnames, *(["le"] if suffix == "_bucket" else [])}  # type: ignore[attr-defined]
        for family in families
        for suffix in SUFFIXES[family.type]
    }


def rules() -> list[str]:
    """Return each rule as it is written in the file."""
    return (FOLDER / "alerts.yml").read_text().split("      - alert: ")[1:]


def expressions() -> Iterator[str]:
    """Yield each expression of the rules and of the dashboard."""
    for rule in rules():
        between = re.search(r"expr:(?: \|)?\s+(.*?)\n        (?:for|labels):", rule, re.DOTALL)
        assert between
        yield between[1]
    board = json.loads((FOLDER / "grafana.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for annotation in board["annotations"]["list"]:
        yield annotation["expr"]


EXPRESSIONS = list(expressions())
SELECTOR = re.compile(r"\b(circuits_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|=|!=|!~)\s*"([^"]*)"')


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_is_told(expression: str) -> None:
    known, selectors = exported_labels(), SELECTOR.findall(expression)
    assert selectors
    labels = set()
    for metric, matchers in selectors:
        assert metric in known
        labels |= known[metric]
        for label, operator, value in MATCHER.findall(matchers):
            assert label in known[metric]
            if label in VALUES:
                pattern = value if "~" in operator else re.escape(value)
                assert any(re.fullmatch(pattern, each) for each in VALUES[label])
    for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert set(grouped.split(", ")) <= labels


def test_they_ask_for_every_metric() -> None:
    metric_names = {metric for each in EXPRESSIONS for metric, _ in SELECTOR.findall(each)}
    assert metric_names == set(exported_labels())


def test_each_rule_is_in_the_docs_and_says_what_is_wrong() -> None:
    page = (FOLDER.parent / "observability.md").read_text()
    assert len(rules()) == 8
    for rule in rules():
        name = rule.splitlines()[0]
        assert f"| `{name}` |" in page
        for key in ("summary: ", "description: ", "severity: "):
            assert key in rule
