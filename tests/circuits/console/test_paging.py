"""Lists in the admin that stop where it would take long to go on, and say so."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from circuits.console.paging import BoundedPaginator, HistoryList
from circuits.models import Circuit, Transition
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed")

LIST = reverse("admin:circuits_circuit_changelist")
CHANGES = reverse("admin:circuits_transition_changelist")

MORE_CIRCUITS = "There are more: only the first 3 are counted and listed."
OLDER_CHANGES = "These are of the newest 4 changes of all circuits."


def shown(client: Client, url: str) -> tuple[list[Any], str]:
    """Return the rows of a list and its page."""
    response = client.get(url)
    assert response.status_code == 200
    return list(response.context["cl"].result_list), response.content.decode()


# The paginator -----------------------------------------------------------------------------------


@pytest.fixture
def _three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedPaginator, "limit", 3)


@pytest.mark.parametrize(
    ("rows", "count", "is_cut"), [(0, 0, False), (3, 3, False), (4, 3, True), (9, 3, True)]
)
@pytest.mark.usefixtures("_three")
def test_no_more_than_the_limit_is_counted(rows: int, count: int, is_cut: bool) -> None:
    CircuitFactory.create_batch(rows)
    paginator = BoundedPaginator(Circuit.objects.all(), 2)
    assert (paginator.count, paginator.is_cut) == (count, is_cut)
    assert paginator.num_pages == max(1, (count + 1) // 2)


@pytest.mark.usefixtures("_three")
def test_the_last_page_ends_at_the_limit() -> None:
    names = [circuit.name for circuit in CircuitFactory.create_batch(5)]
    page = BoundedPaginator(Circuit.objects.order_by("pk"), 2).page(2)
    assert [circuit.name for circuit in page] == names[2:3]


@pytest.mark.usefixtures("_three")
def test_a_list_that_is_cut_says_so(ann: Client) -> None:
    CircuitFactory.create_batch(3)
    assert MORE_CIRCUITS not in shown(ann, LIST)[1]
    CircuitFactory.create()
    html = shown(ann, LIST)[1]
    assert MORE_CIRCUITS in html
    assert "3 circuits" in html


@pytest.mark.usefixtures("_three")
def test_an_action_on_all_of_them_is_for_those_that_were_counted(ann: Client) -> None:
    for name in "abcde":
        CircuitFactory.create(name=name)
    chosen = Circuit.objects.get(name="a").pk
    asked = {"action": "force_open", "select_across": 1, "_selected_action": chosen}
    question = ann.post(LIST, asked)
    ann.post(question.context["action"], {"keys": question.context["keys"]})
    forced = Circuit.objects.filter(mode="forced_open")
    assert set(forced.values_list("name", flat=True)) == {"a", "b", "c"}


# The history -------------------------------------------------------------------------------------


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[Transition]:
    """Make six changes, of which the list shows the newest four."""
    monkeypatch.setattr(HistoryList, "window", 4)
    old = TransitionFactory.create(circuit__name="old", actor="bob")
    return [
        *TransitionFactory.create_batch(2, circuit=old.circuit),
        *TransitionFactory.create_batch(3),
    ]


@pytest.fixture
def newest(changes: list[Transition]) -> list[Transition]:
    """Return the changes that the list shows, the newest first."""
    return changes[:0:-1]


def test_of_all_circuits_the_newest_changes_are_listed(
    ann: Client, newest: list[Transition]
) -> None:
    rows, html = shown(ann, CHANGES)
    assert rows == newest
    assert OLDER_CHANGES in html


def test_a_search_looks_no_further(ann: Client, newest: list[Transition]) -> None:
    assert shown(ann, f"{CHANGES}?q=bob")[0] == []
    assert shown(ann, f"{CHANGES}?q=old")[0] == newest[3:]


def test_a_circuit_has_all_of_its_changes_listed(ann: Client, newest: list[Transition]) -> None:
    circuit = Circuit.objects.get(name="old")
    rows, html = shown(ann, f"{CHANGES}?circuit__id__exact={circuit.pk}")
    assert rows == list(circuit.transitions.order_by("-pk"))
    assert len(rows) == 3
    assert OLDER_CHANGES not in html


def test_a_short_history_is_listed_to_its_beginning(
    ann: Client, changes: list[Transition], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HistoryList, "window", Transition.objects.latest("pk").pk)
    rows, html = shown(ann, CHANGES)
    assert len(rows) == 6
    assert "of all circuits" not in html


def test_no_address_asks_for_another_order(ann: Client, newest: list[Transition]) -> None:
    for column in range(1, 7):
        assert shown(ann, f"{CHANGES}?o={column}")[0] == newest


def test_a_history_without_changes_is_an_empty_list(ann: Client) -> None:
    Transition.objects.all().delete()
    assert shown(ann, CHANGES)[0] == []


def test_what_is_no_key_of_a_circuit_is_no_error_of_ours(ann: Client) -> None:
    response = ann.get(f"{CHANGES}?circuit__id__exact=x")
    assert (response.status_code, response.headers["Location"]) == (302, f"{CHANGES}?e=1")
