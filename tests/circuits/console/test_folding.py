"""Families in the list: each has one row, which unfolds, and is steered as a whole."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from circuits.console import folding
from circuits.console.folding import Family, Line, fold
from circuits.console.paging import BoundedPaginator
from circuits.core.status import Mode, State
from circuits.models import Circuit, Minute
from tests.factories import CircuitFactory
from tests.staff import LIST, seen, text

pytestmark = pytest.mark.usefixtures("committed")

LIVE = reverse("admin:circuits_circuit_live")

OPEN, HALF_OPEN, CLOSED = 0, 2, 5


def line(name: str, urgency: int = CLOSED) -> Line:
    return Line(hash(name), name, name.partition("/")[0] if "/" in name else "", urgency)


def made(*names: str, **fields: Any) -> None:
    for name in names:
        CircuitFactory.create(name=name, **fields)


def shown(client: Client, url: str = LIST, **query: Any) -> list[str]:
    """Return the names on the page from the top."""
    return [str(each) for each in client.get(url, query).context["cl"].result_list]


def rows(html: str) -> list[str]:
    return re.findall(r"<tr>(?:(?!</tr>).)*field-name.*?</tr>", html, re.DOTALL)


def toggle_first_row(client: Client, query: str = "") -> str:
    """Return the query to which the link of the first row leads, and follow the link."""
    found = re.search(r'class="field-name"><a href="([^"]*)"', seen(client, LIST + query))
    assert found
    response = client.get(unescape(found[1]))
    assert response.status_code == 302
    path, _, led_to = response["Location"].partition("?")
    assert path == LIST
    return f"?{led_to}"


# Which rows there are ----------------------------------------------------------------------------


def test_a_family_stands_where_its_first_circuit_was() -> None:
    lines = [line("a/1", OPEN), line("users", OPEN), line("b/1"), line("a/2"), line("a")]
    family, *others = fold(lines)
    assert isinstance(family, Family)
    assert (family.name, [each.name for each in family.members]) == ("a", ["a", "a/1", "a/2"])
    assert others == [line("users", OPEN), line("b/1")]


def test_a_family_is_as_bad_as_its_worst_circuit_whatever_the_order() -> None:
    (family,) = fold([line("a"), line("a/2", HALF_OPEN), line("a/1", OPEN), line("a/3", OPEN)])
    assert isinstance(family, Family)
    assert family.worst.name == "a/1"
    assert family.counts == "2 open, 1 half open"


def test_of_several_that_are_down_the_worst_has_been_so_longest() -> None:
    now = timezone.now()
    lines = [
        line("a/1", OPEN)._replace(down_since=now),
        line("a/2", OPEN)._replace(down_since=now - timedelta(minutes=1)),
        line("a/3")._replace(down_since=now - timedelta(days=1)),
    ]
    (family,) = fold(lines)
    assert isinstance(family, Family)
    assert family.worst.name == "a/2"


def test_each_rank_that_the_database_gives_is_counted_as_what_it_is() -> None:
    made("a/open", opened=True)
    made("a/forced open", opened=True, mode=Mode.FORCED_OPEN)
    made("a/forced closed", mode=Mode.FORCED_CLOSED)
    made("a/half open", state=State.HALF_OPEN)
    made("a/unsteady", refused_at=timezone.now())
    made("a/would be down", opened=True, mode=Mode.OBSERVE)
    made("a/observed", mode=Mode.OBSERVE)
    made("a/closed")
    lines = [Line(*each) for each in Circuit.objects.values_list(*Line._fields)]
    (family,) = fold(lines)
    assert isinstance(family, Family)
    assert family.counts == "2 open, 1 forced, 1 half open, 1 unsteady, 1 observed"


def test_the_list_folds_families_of_several(ann: Client) -> None:
    made("payments/refunds", opened=True)
    made("payments", "payments/charges", "partner/a", "users")
    assert shown(ann) == ["payments (3 circuits)", "partner/a", "users"]


def test_what_is_unfolded_begins_with_the_circuit_of_the_family(ann: Client) -> None:
    made("payments/refunds", opened=True)
    made("payments", "payments/charges", "b/1", "b/2")
    assert shown(ann, unfolded="payments") == [
        "payments (3 circuits)",
        "payments",
        "payments/refunds",
        "payments/charges",
        "b (2 circuits)",
    ]


@pytest.mark.parametrize("query", [{"q": "payments"}, {"family": "payments"}])
def test_who_looks_for_circuits_sees_circuits(ann: Client, query: dict[str, str]) -> None:
    made("payments/charges", "payments/refunds")
    assert shown(ann, **query) == ["payments/charges", "payments/refunds"]


def test_what_is_filtered_is_folded_too(ann: Client) -> None:
    made("payments/a", "payments/b", "users/a", opened=True)
    made("payments/c", "users/b")
    found = shown(ann, state__exact="open")
    assert found == ["payments (2 circuits)", "users/a"]


def test_the_link_of_a_family_unfolds_and_folds_it_and_keeps_the_rest(ann: Client) -> None:
    made("a/1", "a/2", opened=True)
    made("b/1", "b/2", opened=True)
    filters = "?state__exact=open&unfolded=b"
    unfolded = toggle_first_row(ann, filters)
    assert unfolded == "?state__exact=open&unfolded=a/b"
    assert len(shown(ann, LIST + unfolded)) == 6
    assert toggle_first_row(ann, unfolded) == filters


def test_the_last_family_is_folded_again(ann: Client) -> None:
    made("a/1", "a/2")
    assert toggle_first_row(ann, "?unfolded=a") == "?"
    assert toggle_first_row(ann, "?unfolded=a&p=1") == "?p=1"


def test_pages_are_of_families_and_all_circuits_are_counted(ann: Client) -> None:
    per_page = 50
    for number in range(per_page + 1):
        made(f"f{number:02}/a", f"f{number:02}/b")
    first = ann.get(LIST).context["cl"]
    assert len(first.result_list) == per_page
    assert first.result_count == 2 * (per_page + 1)
    assert shown(ann, p=2) == ["f50 (2 circuits)"]
    assert ann.get(LIST, {"p": 3}).status_code == 302
    assert shown(ann, LIST + toggle_first_row(ann, "?p=2")) == [
        "f50 (2 circuits)",
        "f50/a",
        "f50/b",
    ]


def test_of_a_large_family_the_first_members_are_listed(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "MOST_MEMBERS", 2)
    made("a/1", "a/2", "a/3")
    html = seen(ann, f"{LIST}?unfolded=a")
    assert len(rows(html)) == 3
    assert '<a href="?family=a">The first 2 are listed here; list them all</a>' in html


def test_a_hidden_circuit_is_not_counted(ann: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from circuits.admin import CircuitAdmin

    made("payments/charges", "payments/refunds", "payments/secret")

    def may_view(self: Any, request: Any, obj: Circuit | None = None) -> bool:
        return obj is None or obj.name != "payments/secret"

    monkeypatch.setattr(CircuitAdmin, "has_view_permission", may_view)
    monkeypatch.setattr(CircuitAdmin, "has_change_permission", may_view)
    html = seen(ann, f"{LIST}?unfolded=payments")
    assert "payments (2 circuits)" in html
    assert "secret" not in html
    chosen = {"action": "force_open", ACTION_CHECKBOX_NAME: ["payments/"], "index": 0}
    assert "secret" not in ann.post(LIST, chosen).content.decode()


# What the row says -------------------------------------------------------------------------------


def test_the_row_says_how_many_are_down_and_since_when_the_worst_is(ann: Client) -> None:
    made("payments/refunds", opened=True, last_error="HTTP 500", last_failure_at=timezone.now())
    made("payments/charges", state=State.HALF_OPEN)
    made("payments")
    (row,) = rows(seen(ann, LIST))
    words = text(row)
    assert "payments (3 circuits)" in words
    assert "1 open, 1 half open; the worst since" in words
    assert "payments/refunds: HTTP 500" in words
    assert "circuits-open" in row


def test_all_is_well_in_few_words(ann: Client) -> None:
    made("payments/refunds", "payments/charges")
    (row,) = rows(seen(ann, LIST))
    assert "2 closed" in text(row)
    assert "the worst" not in text(row)


def test_the_calls_of_a_family_are_added_up(ann: Client) -> None:
    minute = int(timezone.now().timestamp() // 60)
    for name in ("payments", "payments/a", "payments/b"):
        circuit = CircuitFactory.create(name=name)
        Minute.objects.create(circuit=circuit, minute=minute, successes=5, failures=1, refusals=2)
    made("payments/idle")
    (row,) = rows(seen(ann, LIST))
    assert "15 successes, 3 failures and 6 refusals in the last hour" in row


def test_what_is_too_much_to_add_up_is_left_out(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "MOST_SUMMED", 2)
    made("a/1", "a/2", "a/3", "b/1", "b/2")
    large, small = rows(seen(ann, LIST))
    assert "circuits-spark" not in large
    assert "circuits-spark" in small


def test_more_families_cost_no_more_queries(ann: Client) -> None:
    def queries(url: str) -> int:
        with CaptureQueriesContext(connections["circuits"]) as asked:
            assert ann.get(url).status_code == 200
        return len(asked)

    unfolded = "?unfolded=f0/f1/f2"
    made("f0/a", "f0/b", opened=True)
    few = {url: queries(url + unfolded) for url in (LIST, LIVE)}
    for number in range(1, 20):
        made(f"f{number}/a", f"f{number}/b", f"f{number}/c", opened=True)
    assert {url: queries(url + unfolded) for url in (LIST, LIVE)} == few
    assert few[LIVE] <= 12


# What is told live -------------------------------------------------------------------------------


def test_the_list_is_told_of_families_as_it_shows_them(ann: Client) -> None:
    made("payments/refunds", opened=True)
    made("payments/charges", "users")
    told = ann.get(LIVE).json()["circuits"]
    assert [each["pk"] for each in told][:1] == ["payments/"]
    assert told[0]["words"] == "payments (2 circuits): 1 open."
    page = seen(ann, f"{LIST}?unfolded=payments")
    unfolded = ann.get(LIVE, {"unfolded": "payments"}).json()["circuits"]
    assert [each["words"] for each in unfolded][:2] == ["", "payments/refunds is now open."]
    # The way back from a circuit leads to the list as it is.
    names = [cell for each in unfolded for cell in each["cells"] if "field-name" in cell]
    assert len(names) == 4
    assert all(name in page for name in names)


# Steering ----------------------------------------------------------------------------------------


def test_a_family_is_steered_as_one(ann: Client) -> None:
    made("payments", "payments/charges", "payments/refunds", "users", "orders")
    user = Circuit.objects.get(name="users")
    box = re.search(r'<input[^>]*value="payments/"[^>]*>', seen(ann, LIST))
    assert box
    assert "action-select" in box[0]
    chosen = {"action": "force_open", ACTION_CHECKBOX_NAME: ["payments/", str(user.pk)], "index": 0}
    asked = ann.post(LIST, chosen)
    assert "4 circuits" in asked.context["title"]
    context = asked.context
    answer = {"keys": context["keys"], "modes": context["modes"], "reason": "move"}
    ann.post(reverse("admin:circuits_circuit_operate_many", args=["force_open"]), answer)
    forced = Circuit.objects.filter(mode=Mode.FORCED_OPEN).values_list("name", flat=True)
    assert sorted(forced) == ["payments", "payments/charges", "payments/refunds", "users"]


def test_a_circuit_whose_key_is_the_name_of_a_family_is_selected_too(ann: Client) -> None:
    user = CircuitFactory.create(name="users")
    made(f"{user.pk}/a", f"{user.pk}/b")
    keys = [f"{user.pk}/", str(user.pk)]
    asked = ann.post(LIST, {"action": "reset", ACTION_CHECKBOX_NAME: keys, "index": 0})
    assert "users" in [name for name, _ in asked.context["circuits"]]
    assert len(asked.context["circuits"]) == 3


def test_of_a_family_only_what_the_list_finds_is_steered(ann: Client) -> None:
    made("payments/charges", "payments/refunds", opened=True)
    made("payments/ok")
    chosen = {"action": "reset", ACTION_CHECKBOX_NAME: ["payments/"], "index": 0}
    asked = ann.post(f"{LIST}?state__exact=open", chosen)
    assert [name for name, _ in asked.context["circuits"]] == [
        "payments/charges",
        "payments/refunds",
    ]


@pytest.mark.parametrize("key", ["/", "\0/", "x" * 200 + "/", "a"])
def test_no_other_key_is_taken_for_a_family(ann: Client, key: str) -> None:
    made("a/1", "a/2")
    chosen = {"action": "reset", ACTION_CHECKBOX_NAME: [key], "index": 0}
    assert ann.post(LIST, chosen).status_code == 400


def test_no_more_circuits_are_folded_than_a_list_pages_through(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedPaginator, "limit", 3)
    made("a/1", "a/2", opened=True)
    made("b/1", "b/2")
    page = ann.get(LIST)
    assert [str(each) for each in page.context["cl"].result_list] == ["a (2 circuits)", "b/1"]
    assert "There are more" in page.content.decode()
