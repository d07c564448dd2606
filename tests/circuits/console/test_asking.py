"""Whatever somebody types into the address of a list, the list does not break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import Field
from django.test import Client
from django.urls import reverse

from circuits.console import live
from circuits.console.rates import Rate
from circuits.models import Circuit, Transition
from tests.factories import CircuitFactory, TransitionFactory
from tests.staff import HISTORY, LIST, rows, text

LIVE = reverse("admin:circuits_circuit_live")
EXPORT = reverse("admin:circuits_transition_export")

#: Numbers, moments, lists and texts that suit hardly any field.
VALUES = ("", "1", "123456789012", "9" * 30, "[")


@pytest.fixture(autouse=True)
def _patient(committed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RATE", Rate(1_000_000))
    TransitionFactory.create(circuit=CircuitFactory.create(name="payments", opened=True))


def one_of_each_kind(model: Any) -> list[Field[Any, Any]]:
    """Return one field of each class that a model uses."""
    kinds: dict[type, Field[Any, Any]] = {}
    for field in model._meta.concrete_fields:
        kinds.setdefault(type(field), field)
    return list(kinds.values())


def lookups(model: Any) -> Iterator[str]:
    """Yield every lookup and transform of the fields, and some of the transforms' own."""
    for field in one_of_each_kind(model):
        for name, kind in field.get_lookups().items():
            yield f"{field.name}__{name}"
            if hasattr(kind, "get_lookups"):
                yield from (f"{field.name}__{name}__{further}" for further in ("gte", "in"))


def asked(client: Client, url: str, query: dict[str, Any]) -> int:
    response: Any = client.get(url, query)
    if response.streaming:
        b"".join(response.streaming_content)
    elif hasattr(response, "render"):
        response.render()
    assert response.status_code < 500, (url, query)
    return int(response.status_code)


@pytest.mark.parametrize(
    ("model", "urls"), [(Circuit, (LIST, LIVE)), (Transition, (HISTORY, EXPORT))]
)
def test_no_filter_breaks_a_list(ann: Client, model: Any, urls: tuple[str, ...]) -> None:
    """This tries every lookup of every kind of field with every value, on all URLs of the list."""
    tried = list(lookups(model))
    assert len(tried) > 60
    for number, lookup in enumerate(tried):
        for value in VALUES:
            asked(ann, urls[number % len(urls)], {lookup: value})
    assert asked(ann, urls[0], {}) == 200


@pytest.mark.parametrize("url", [LIST, LIVE, HISTORY, EXPORT])
@pytest.mark.parametrize(
    "query",
    [
        {"generation__range": "1"},
        {"created_at__year": "123456789012"},
        {"at__year": "123456789012"},
        {"q": "word " * 1_200},
        {"q": "w" * 60_000},
        {"q": '"' + "w " * 1_200},
        {"id__in": ",".join(["1"] * 40_000)},
        {"name__contains": ["a"] * 1_200},
        {"actor__contains": ["a"] * 1_200},
        {"p": "9" * 30},
        {"p": "-1"},
        {"o": "9.9.9"},
        {"o": "-" * 1_000},
        {"all": "x"},
        {"e": "1", "generation__range": "1"},
        {"_to_field": "name"},
        {"_popup": "1", "generation__range": "1"},
    ],
    ids=lambda query: " ".join(query),
)
def test_nor_does_anything_else_in_an_address(ann: Client, url: str, query: dict[str, Any]) -> None:
    asked(ann, url, query)


def test_the_first_words_of_a_search_are_looked_for(ann: Client) -> None:
    words = " ".join(["pay"] * 32)
    for search, found, is_cut in (
        (words, 1, False),
        (f"{words} nothing-like-it", 1, True),
        (f"nothing-like-it {words}", 0, True),
        ("pay", 1, False),
    ):
        answer = ann.get(LIST, {"q": search})
        assert answer.context["cl"].result_count == found
        said = "This is what the first 32 words of the search find; the others are left out."
        assert (said in text(answer.content.decode())) == is_cut


@pytest.mark.parametrize("key", ["x", "9" * 30, "-1", "1,2", ""])
@pytest.mark.parametrize("action", ["force_open", "delete_selected"])
def test_what_is_no_row_cannot_be_selected(ann: Client, key: str, action: str) -> None:
    before = rows()
    data = {"action": action, "_selected_action": key, "post": "yes"}
    assert ann.post(LIST, data).status_code == 400
    assert rows() == before


def test_an_incident_of_no_generation_that_can_be(ann: Client) -> None:
    pk = Circuit.objects.get().pk
    for key, generation in ((pk, "9" * 30), ("9" * 30, "1"), ("x", "1")):
        assert ann.get(f"{LIST}{key}/incident/{generation}/").status_code == 404
