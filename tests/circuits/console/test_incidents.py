"""The list of incidents over all circuits."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from circuits.core.status import Mode, Reason, State
from circuits.models import Circuit, Opening, Transition
from circuits.reports import incidents
from tests.factories import TransitionFactory, fell
from tests.staff import incident, page, seen, signed_in, text

pytestmark = pytest.mark.usefixtures("committed")

INCIDENTS = reverse("admin:circuits_opening_changelist")
INDEX = reverse("admin:index")


def listed(client: Client, **query: str) -> list[dict[str, str]]:
    """Return the texts of the list's rows."""
    html = seen(client, INCIDENTS, **query)
    rows = re.findall(r"<tr>(?:(?!</tr>).)*class=\"field-opened.*?</tr>", html, re.DOTALL)
    cells = r'<t[dh][^>]*class="field-(\w+)[^"]*"[^>]*>(.*?)</t[dh]>'
    return [{name: text(cell) for name, cell in re.findall(cells, row, re.DOTALL)} for row in rows]


def of(client: Client, **query: str) -> list[str]:
    """Return the circuits that the list names, from the top."""
    return [row["circuit_link"] for row in listed(client, **query)]


# The list ----------------------------------------------------------------------------------------


def test_every_incident_of_every_circuit_has_a_row(ann: Client) -> None:
    fell("mail", minutes_ago=90, lasted=6, detail="HTTP 503")
    fell("payments", minutes_ago=15, reason=Reason.MODE, actor="ben", detail="They move house")
    newest, first = listed(ann)
    assert newest["circuit_link"] == "payments"
    assert newest["lasted"] == "15 minutes, and goes on"
    assert newest["cause"] == "mode changed: They move house"
    assert (newest["who"], newest["trials"], newest["refused"]) == ("ben", "1", "15")
    assert first["circuit_link"] == "mail"
    assert first["lasted"] == "6 minutes"
    assert first["cause"] == "too many failures: HTTP 503"
    assert (first["who"], first["trials"], first["refused"]) == ("—", "1", "15")


def test_a_row_leads_to_the_changes_of_its_incident(ann: Client) -> None:
    circuit = fell("mail", minutes_ago=90, lasted=6)
    html = seen(ann, INCIDENTS)
    assert f'href="{incident(circuit, 1)}"' in html
    assert f'href="{page(circuit)}"' in html
    assert "trial failed" in seen(ann, incident(circuit, 1))


def test_an_observed_incident_says_so(ann: Client) -> None:
    fell("mail", minutes_ago=9, from_mode=Mode.OBSERVE, to_mode=Mode.OBSERVE)
    assert listed(ann)[0]["cause"] == "◌ observe too many failures"


def test_incidents_are_filtered_and_searched(ann: Client) -> None:
    fell("mail", minutes_ago=3 * 24 * 60, lasted=6, detail="HTTP 503")
    fell("payments", minutes_ago=0, reason=Reason.MODE, actor="ben")
    html = text(seen(ann, INCIDENTS))
    assert "too many slow calls" in html
    assert "trial succeeded" not in html, "nothing opens for that reason"
    assert of(ann, end="no") == ["payments"]
    assert of(ann, end="yes") == ["mail"]
    assert of(ann, reason="mode") == ["payments"]
    assert of(ann, at__gte=(timezone.now() - timedelta(days=1)).isoformat()) == ["payments"]
    for words, found in (("503", "mail"), ("ben", "payments"), ("pay", "payments")):
        assert of(ann, q=words) == [found]


def test_of_a_circuit_only_the_last_incident_can_go_on(ann: Client) -> None:
    circuit = fell("mail", minutes_ago=90, lasted=6)
    TransitionFactory.create(circuit=circuit, generation=5)
    Circuit.objects.update(state=State.OPEN, generation=5)
    assert [row["lasted"].endswith("goes on") for row in listed(ann)] == [True, False]
    assert len(listed(ann, end="no")) == len(listed(ann, end="yes")) == 1
    assert len(listed(ann, circuit__id__exact=str(circuit.pk))) == 2
    assert f"{INCIDENTS}?circuit__id__exact={circuit.pk}" in seen(ann, page(circuit))


def test_more_incidents_cost_no_more_queries(ann: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connections["circuits"]) as asked:
            seen(ann, INCIDENTS)
        return len(asked)

    fell("mail", minutes_ago=1)
    few = queries()
    for number in range(12):
        fell(f"c{number}", minutes_ago=9, lasted=1)
    assert queries() == few


def test_of_a_long_incident_the_last_changes_are_added_up(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incidents, "SUMMED_EACH", 1)
    fell("mail", minutes_ago=9)
    (row,) = listed(ann)
    assert (row["trials"], row["refused"]) == ("more than 1", "more than 5")


def test_nobody_changes_an_incident(ann: Client) -> None:
    fell("mail", minutes_ago=9)
    opening = Opening.objects.get(generation=1)
    for view in ("change", "delete"):
        url = reverse(f"admin:circuits_opening_{view}", args=[opening.pk])
        assert ann.post(url, {}).status_code == 403
    assert ann.get(reverse("admin:circuits_opening_add")).status_code == 403
    assert Transition.objects.filter(pk=opening.pk).exists()


@pytest.mark.parametrize(
    ("permission", "status"),
    [
        ("view_circuit", 200),
        ("change_circuit", 403),
        ("view_transition", 200),
        ("add_circuit", 403),
    ],
)
def test_who_may_see_circuits_may_see_their_incidents(permission: str, status: int) -> None:
    fell("mail", minutes_ago=9)
    assert signed_in(permission, name="ben").get(INCIDENTS).status_code == status


@pytest.mark.parametrize("site", ["ruled", "narrowed"])
def test_incidents_of_hidden_circuits_are_hidden(settings: Settings, site: str) -> None:
    settings.ROOT_URLCONF = f"tests.circuits.console.{site}_urls"
    hidden = fell("hidden", minutes_ago=99)
    fell("mail", minutes_ago=9)
    client = signed_in("view_circuit", name="ben")
    assert of(client) == ["mail"]
    assert of(client, circuit__id__exact=str(hidden.pk)) == []
