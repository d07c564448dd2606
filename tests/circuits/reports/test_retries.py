"""How much of the budget of retries is used, wherever people look."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

import circuits
from circuits.models import Circuit
from circuits.storage.database import DatabaseStore
from tests.calls import succeed
from tests.commands import shell
from tests.factories import CircuitFactory
from tests.staff import page

pytestmark = pytest.mark.usefixtures("committed")


def shown() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell("circuits", "show", "payments", "--json").out)
    return found


def test_the_admin_and_the_command_say_how_many_are_used(ann: Client) -> None:
    for _ in range(3):
        circuits.may_retry("payments")
    succeed("payments", 50)
    circuits.flush()
    circuit = Circuit.objects.get(name="payments")
    html = ann.get(page(circuit)).content.decode()
    assert "Retries: 3 of the 20 allowed in the last 60 s." in html
    found = shown()
    assert (found["recent_retries"], found["retries_allowed"]) == (3, 20)
    assert "retry_window" not in found
    assert "recent retries" in shell("circuits", "show", "payments").out


@pytest.mark.parametrize("ago", [None, 70])
def test_nothing_is_said_if_no_process_has_lately_retried(ann: Client, ago: float | None) -> None:
    bucket = [DatabaseStore().now() - (ago or 0), 50, 3, 0]
    window = None if ago is None else {"buckets": [bucket], "recent": ""}
    circuit = CircuitFactory.create(name="payments", retry_window=window)
    assert "Retries:" not in ann.get(page(circuit)).content.decode()
    found = shown()
    assert (found["recent_retries"], found["retries_allowed"]) == (0, 10)
