"""The list of circuits on a laptop with the sidebar open, as somebody on call has it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.browser.browser import DESKTOP, PHONE, Browser, Device, Theme
from tests.factories import CircuitFactory

LIST = reverse("admin:circuits_circuit_changelist")

#: The longest error that is kept.
ERROR = ("ConnectionError: HTTPSConnectionPool(host='payments.example', port=443) " * 9)[:500]

#: Where each row of the list ends, in CSS pixels from the top of the page.
BOTTOMS = """
const rows = [...document.querySelectorAll("#result_list tbody tr")];
return rows.map((row) => row.getBoundingClientRect().bottom + scrollY);
"""

#: Where the first row and each of its cells stand.
BOXES = """
const row = document.querySelector("#result_list tbody tr");
const box = (element) => (({left, right, top, bottom}) => ({left, right, top, bottom}))(
    element.getBoundingClientRect());
const cells = Object.fromEntries([...row.cells].map((cell) => [cell.classList[0], box(cell)]));
return {...cells, row: box(row)};
"""


def some_circuits(number: int, down: int) -> None:
    """Make circuits of which some are down with a long error."""
    CircuitFactory.create_batch(number - down)
    since = timezone.now() - timedelta(minutes=15)
    CircuitFactory.create_batch(
        down,
        opened=True,
        down_since=since,
        reopen_count=7,
        total_refusals=3_752,
        last_error=ERROR,
        last_failure_at=timezone.now(),
    )


def test_fifteen_circuits_fit(browser: Browser) -> None:
    some_circuits(15, down=3)
    browser.visit(LIST)
    assert browser.one("#nav-sidebar").size["width"] > 200, "the sidebar is open"
    bottoms = browser.chrome.execute_script(BOTTOMS)
    assert len(bottoms) == 15
    assert bottoms[-2] <= DESKTOP.height, "the name of the last one is on the screen"


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("theme", Theme)
def test_why_stands_below_the_name(browser: Browser, device: Device, theme: Theme) -> None:
    some_circuits(1, down=1)
    browser.become(theme, device)
    browser.visit(LIST)
    boxes: dict[str, Any] = browser.chrome.execute_script(BOXES)
    why, row = boxes["field-error"], boxes["row"]
    assert why["top"] >= boxes["field-name"]["top"] + 16
    assert why["bottom"] <= row["bottom"] + 1
    assert why["right"] <= min(row["right"], device.width)
    for name in ("field-state_badge", "field-since", "field-retry_in", "field-calls"):
        assert boxes[name]["right"] <= device.width
    seen = browser.one("#result_list tbody tr").text
    for words in ("open", "7 failed trials", "3,752 refused", "ConnectionError"):
        assert words in seen
    assert browser.errors() == []


def test_a_row_with_nothing_to_explain_has_one_line(browser: Browser) -> None:
    some_circuits(2, down=1)
    browser.visit(LIST)
    first, second = browser.chrome.execute_script(BOTTOMS)
    assert second - first < 32
