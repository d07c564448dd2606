"""What retries load on a remote that fails, with and without a budget: simulated, in short."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.faults.retrying import RETRIES, Client, blips, outage
from tests.faults.tables import CLIENTS, DOCS

#: The simulated row is on no database, so one run of them will do.
pytestmark = pytest.mark.skipif(
    os.environ["TEST_DATABASE"] != "sqlite", reason="simulated without a database"
)


def rows(name: str) -> Iterator[list[str]]:
    """Yield the rows of a table in the docs."""
    page = (DOCS / "retries.md").read_text()
    found = re.search(rf"<!-- {name} -->(.*?)<!-- /{name} -->", page, re.DOTALL)
    assert found
    for line in found[1].strip().splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_an_outage_loads_what_the_docs_say() -> None:
    loads = [f"{outage(client, 8, 10).load:.2f}" for client in CLIENTS.values()]
    assert ["8", "10", *loads] in list(rows("retries"))


def test_without_a_budget_each_call_is_tried_four_times_and_with_one_a_quarter_again() -> None:
    assert outage(Client(), 8, 10).load == pytest.approx(RETRIES + 1, rel=0.01)
    # A retry is a call too, so 0.2 of all calls is a quarter of the first attempts; ten beside for
    # the fleet, and for each process until it has heard of the others.
    sent = outage(Client(is_within_budget=True), 8, 10)
    assert 1.25 < sent.load <= 1.25 + (1 + 8) * 10 / sent.calls
    assert sent.failed == pytest.approx(sent.calls, abs=RETRIES + 1)


def test_single_failures_are_retried_as_ever() -> None:
    plain, within = (
        blips(Client(is_within_budget=each, failure_share=0.1), rate=20) for each in (False, True)
    )
    assert within == plain
    assert within.failed_share < 0.001
