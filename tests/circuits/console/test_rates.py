"""How often each user may send requests, and for how long that is remembered."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from circuits.console import live
from circuits.console.rates import Rate
from tests.clock import Clock
from tests.concurrency import in_threads
from tests.factories import CircuitFactory
from tests.staff import page, signed_in


def test_each_is_counted_apart_and_anew_in_the_next_stretch() -> None:
    clock = Clock()
    rate = Rate(2, seconds=10, clock=clock)
    assert [rate.allows("ann") for _ in range(3)] == [True, True, False]
    assert rate.allows("bob")
    clock.pass_by(10)
    assert rate.allows("ann")


def test_many_at_once_are_no_more_than_that() -> None:
    rate = Rate(5, seconds=3_600)
    answers = in_threads(16, lambda _index: [rate.allows("ann") for _ in range(50)])
    assert sum(map(sum, answers)) == 5


@pytest.mark.usefixtures("committed")
def test_a_page_that_asks_all_the_time_is_told_to_wait(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each user gets a few answers a second, over all pages together."""
    clock = Clock()
    monkeypatch.setattr(live, "RATE", Rate(5, clock=clock))
    circuit = CircuitFactory.create()
    urls = [reverse("admin:circuits_circuit_live"), page(circuit).replace("/change/", "/live/")]
    answers = [ann.get(urls[number % 2]) for number in range(8)]
    assert [each.status_code for each in answers] == [200] * 5 + [429] * 3
    assert answers[-1].json() == {"error": "This is asked for too often; it goes on in a moment."}
    assert signed_in("view_circuit", name="bob").get(urls[0]).status_code == 200
    clock.pass_by(1)
    assert ann.get(urls[0]).status_code == 200
