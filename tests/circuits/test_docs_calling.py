"""Every example of docs/calling.md runs, against the mock remote."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest

import circuits

PAGE = (Path(__file__).parents[2] / "docs" / "calling.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.usefixtures("committed")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # a session left to the collector
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example(example: str, remote: str) -> None:
    exec(compile(example, "docs/calling.md", "exec"), {"remote": remote})
    gc.collect()


def test_every_way_in_has_an_example() -> None:
    ways = ["call", "acall", "guard", "protect"]
    classes = ["CircuitBreaker", "CircuitAdapter", "CircuitTransport", "AsyncCircuitTransport"]
    for name in ways + classes:
        assert name in circuits.__all__
        assert any(f"circuits.{name}(" in example for example in EXAMPLES), name
