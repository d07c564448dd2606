"""Every example in the docs runs, against real servers and the test's database."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

import circuits
from circuits import breaker
from circuits.machine import POLICY_NAMES
from circuits.models import Circuit
from circuits.signals import state_changed
from tests.calls import play
from tests.factories import CircuitFactory
from tests.remotes import answer, remote_that

PAGES = {
    name: (Path(__file__).parents[1] / "docs" / f"{name}.md").read_text()
    for name in ("calling", "policies", "django")
}


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)


def circuit(name: str, **policy: Any) -> None:
    CircuitFactory.create(name=name, **policy)


def let_time_pass(seconds: float) -> None:
    Circuit.objects.update(retry_at=F("retry_at") - timedelta(seconds=seconds))
    breaker.forget()


@pytest.fixture
def names(remote: str) -> Iterator[dict[str, Any]]:
    """What the examples may use."""
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


@pytest.mark.usefixtures("committed")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # a session left to the collector
@pytest.mark.parametrize(
    ("page", "example"), [(page, example) for page in PAGES for example in examples(page)]
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


def test_every_policy_field_is_explained() -> None:
    for name in POLICY_NAMES:
        assert name in PAGES["policies"], name
