"""Permissions for single circuits: one that a site's admin hides is shown and steered nowhere.

The tests find the addresses by themselves, so a page that forgets to check fails here.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any

import django
import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from circuits import urls as monitoring_pages
from circuits.console import live
from circuits.console.rates import Rate
from circuits.core.status import Mode, State
from circuits.models import Circuit, Transition
from circuits.steering import permissions
from circuits.steering.operations import OPERATIONS
from tests.circuits.console.ruled_sites import RuledAdmin
from tests.factories import CircuitFactory, TransitionFactory
from tests.staff import HISTORY, LIST, incident, operate, operate_many, page, rows, said, seen

RULED, NARROWED = "tests.circuits.console.ruled_urls", "tests.circuits.console.narrowed_urls"

pytestmark = pytest.mark.usefixtures("committed", "faults_allowed")

LIVE = reverse("admin:circuits_circuit_live")
EXPORT = reverse("admin:circuits_transition_export")
HEALTH, METRICS = "/circuits/health/", "/circuits/metrics/"

#: The texts that only pages of the hidden circuit contain, and those of the other.
SECRETS, WORDS = ("hidden-circuit", "hidden words"), ("shown-circuit", "shown words")


def known(name: str) -> Circuit:
    """Make an open circuit with a history whose texts all contain the circuit's name."""
    circuit: Circuit = CircuitFactory.create(
        name=f"{name}-circuit",
        opened=True,
        last_error=f"{name} words",
        probe_url=f"http://127.0.0.1:9/{name}-circuit",
        injected_failures=0.5,
        injected_until=timezone.now() + timedelta(minutes=9),
    )
    TransitionFactory.create(circuit=circuit, generation=1, detail=f"{name} words")
    return circuit


@pytest.fixture
def shown() -> Circuit:
    return known("shown")


@pytest.fixture
def hidden() -> Circuit:
    return known("hidden")


@pytest.fixture
def ruled(settings: Settings) -> None:
    """Set up a site whose admin checks permissions for each circuit."""
    settings.ROOT_URLCONF = RULED
    settings.CIRCUITS = {**settings.CIRCUITS, "PROMETHEUS": True}


@pytest.fixture(params=[RULED, NARROWED], ids=["ruled", "narrowed"])
def site(request: pytest.FixtureRequest, settings: Settings) -> AdminSite:
    """Return such a site, and one whose admin leaves circuits out of its query."""
    settings.ROOT_URLCONF = request.param
    settings.CIRCUITS = {**settings.CIRCUITS, "PROMETHEUS": True}
    return import_module(request.param).site  # type: ignore[no-any-return]


def holds(text: str, words: tuple[str, ...]) -> bool:
    return any(each in text for each in words)


def content(response: Any) -> str:
    whole = b"".join(response) if response.streaming else response.content
    return whole.decode()


# Every address ------------------------------------------------------------------------------------


#: A parameter of an address, with or without a converter.
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


def addresses(site: AdminSite, circuit: Circuit) -> Iterator[str]:
    """Yield every URL of the app, with the circuit or its transition in its parameters.

    A URL with a parameter that is unknown here fails, so that somebody thinks about it.
    """
    for model, key in ((Circuit, circuit.pk), (Transition, circuit.transitions.get().pk)):
        start = reverse(f"admin:circuits_{model._meta.model_name}_changelist")
        values: dict[str, list[Any]] = {
            "object_id": [key],
            "generation": [1],
            "key": list(OPERATIONS),
            "family": ["partners"],
        }
        for pattern in site.get_model_admin(model).get_urls():
            yield from filled(start + str(pattern.pattern), values)
    yield from (f"/circuits/{each.pattern}" for each in monitoring_pages.urlpatterns)


def filled(route: str, values: dict[str, list[Any]]) -> Iterator[str]:
    """Yield the URLs of a route, one for each combination of values of its parameters."""
    found = PARAMETER.search(route)
    if found is None:
        yield route
        return
    for value in values[found[1]]:
        yield from filled(f"{route[: found.start()]}{value}{route[found.end() :]}", values)


def test_no_address_shows_what_is_hidden(
    site: AdminSite,
    ann: Client,
    shown: Circuit,
    hidden: Circuit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does any change it, by GET or POST, whatever the query or the form contains."""
    monkeypatch.setattr(live, "RATE", Rate(1_000_000))
    before = rows()
    tried = list(addresses(site, hidden))
    assert len(tried) > 25
    queries: list[dict[str, Any]] = [
        {},
        {"q": "hidden"},
        {"all": ""},
        {"circuit__id__exact": hidden.pk},
        {"state__exact": "open"},
    ]
    for url in tried:
        for query in queries:
            answer = ann.get(url, query)
            assert answer.status_code in (200, 301, 302, 400, 403, 404, 405), (url, query)
            text = content(answer).replace('value="hidden"', "").replace("q=hidden", "")
            assert not holds(text, SECRETS), (url, query)
        posted = {"post": "yes", "keys": str(hidden.pk), "_selected_action": hidden.pk}
        for action in ("", "delete_selected", *OPERATIONS):
            answer = ann.post(url, {**posted, "action": action, "select_across": "0"}, follow=True)
            assert answer.status_code in (200, 403, 404, 405), (url, action)
            assert not holds(content(answer), SECRETS), (url, action)
    assert rows() == before


def test_every_address_shows_what_is_not(site: AdminSite, ann: Client, shown: Circuit) -> None:
    """This shows that the test above looks at pages that do show circuits."""
    found = {url: content(ann.get(url, follow=True)) for url in addresses(site, shown)}
    silent = [url for url, text in found.items() if not holds(text, WORDS)]
    # A selection comes by POST, the history cannot be changed, and the metrics take the token. The
    # others name it at least in their banner.
    many = [operate_many(key) for key in OPERATIONS]
    nothing = [f"{HISTORY}add/", f"{HISTORY}{shown.transitions.get().pk}/delete/"]
    assert sorted(silent) == sorted([*many, *nothing, METRICS])


# One circuit --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ruled")
def test_its_pages_are_denied(ann: Client, hidden: Circuit) -> None:
    urls = [
        page(hidden),
        incident(hidden, 1),
        page(hidden).replace("/change/", "/live/"),
        page(hidden).replace("/change/", "/history/"),
        page(hidden).replace("/change/", "/delete/"),
        *(operate(hidden, key) for key in OPERATIONS),
        reverse("admin:circuits_transition_change", args=[hidden.transitions.get().pk]),
    ]
    for url in urls:
        assert ann.get(url).status_code == 403, url
        assert ann.post(url).status_code in (403, 405), url


@pytest.mark.usefixtures("ruled")
def test_one_that_may_not_be_steered_is_seen_without_buttons(ann: Client) -> None:
    circuit = known("left alone")
    before = rows()
    assert "left alone words" in seen(ann, page(circuit))
    assert operate(circuit, "force_open") not in seen(ann, page(circuit))
    live = ann.get(page(circuit).replace("/change/", "/live/")).json()
    assert operate(circuit, "force_open") not in live["parts"]["status"]
    for key in OPERATIONS:
        assert ann.get(operate(circuit, key)).status_code == 403
        assert ann.post(operate(circuit, key)).status_code == 403
    assert rows() == before


@pytest.mark.usefixtures("ruled")
def test_one_that_may_only_be_seen_can_be_steered(ann: Client) -> None:
    """The permission to steer is separate from the permission to edit the policy."""
    circuit = known("fixed")
    assert ann.post(page(circuit), {"threshold": 9}).status_code == 403
    assert ann.post(operate(circuit, "force_open")).status_code == 302
    circuit.refresh_from_db()
    assert (circuit.mode, circuit.threshold) == (Mode.FORCED_OPEN, 5)


# Many ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ruled")
def test_of_many_each_is_asked_for(ann: Client, shown: Circuit, hidden: Circuit) -> None:
    alone = known("left alone")
    keys = ",".join(str(each.pk) for each in (shown, hidden, alone))
    answer = ann.post(operate_many("force_closed"), {"keys": keys})
    assert answer.status_code == 302
    modes = dict(Circuit.objects.values_list("pk", "mode"))
    assert modes == {
        shown.pk: Mode.FORCED_CLOSED,
        hidden.pk: Mode.AUTOMATIC,
        alone.pk: Mode.AUTOMATIC,
    }
    assert said(answer) == [
        ("warning", "1 circuit is no longer there."),
        ("warning", "You may not steer left alone-circuit."),
        ("success", "shown-circuit: forced closed."),
    ]


@pytest.mark.usefixtures("ruled")
@pytest.mark.parametrize("across", ["0", "1"])
def test_a_selection_is_asked_about_as_far_as_it_may_be_steered(
    ann: Client, shown: Circuit, hidden: Circuit, across: str
) -> None:
    alone = known("left alone")
    keys = [each.pk for each in (shown, hidden, alone)]
    data = {"action": "force_open", "_selected_action": keys, "select_across": across, "index": 0}
    answer = ann.post(LIST, data)
    assert [name for name, _badge in answer.context["circuits"]] == ["shown-circuit"]
    assert answer.context["keys"] == str(shown.pk)


@pytest.mark.usefixtures("ruled")
def test_a_list_that_is_edited_asks_for_each(ann: Client, shown: Circuit) -> None:
    """A form that is sent by hand can contain any of the rows.

    Django 6.1 leaves out those that the user may not change. Earlier versions do not check single
    rows, and then the whole form is refused.
    """
    asks_itself = django.VERSION >= (6, 1)
    for name in ("hidden", "fixed"):
        circuit = known(name)
        for forms in ([circuit], [shown, circuit]):
            data: dict[str, Any] = {
                "form-TOTAL_FORMS": len(forms),
                "form-INITIAL_FORMS": len(forms),
                "_save": "Save",
            }
            for number, each in enumerate(forms):
                data |= {f"form-{number}-id": each.pk, f"form-{number}-threshold": 77}
            assert ann.post(LIST, data).status_code == (302 if asks_itself else 403)
    changed = Circuit.objects.filter(threshold=77)
    assert set(changed) == ({shown} if asks_itself else set())


# What all of them come to -------------------------------------------------------------------------


def test_only_what_may_be_seen_is_counted(
    site: AdminSite, ann: Client, shown: Circuit, hidden: Circuit
) -> None:
    for url in (LIST, f"{LIST}?q=nothing-like-it"):
        counted = ann.get(url).context["cl"].counted
        assert (counted["open"], counted["total"]) == (1, 1)
    answer = ann.get(LIST)
    assert answer.context["cl"].result_count == 1
    assert [each["pk"] for each in ann.get(LIVE).json()["circuits"]] == [shown.pk]
    assert "1 open" in ann.get(LIVE).json()["parts"]["summary"]


@pytest.mark.usefixtures("ruled")
def test_one_that_is_far_down_is_found_by_a_search(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit applies to the circuits that the search finds, not to all circuits."""
    monkeypatch.setattr(permissions, "MOST_ASKED", 3)
    CircuitFactory.create_batch(5)
    CircuitFactory.create(name="zebra")
    assert ann.get(LIST).context["cl"].result_count == 3
    assert [each.name for each in ann.get(LIST, {"q": "zeb"}).context["cl"].result_list] == [
        "zebra"
    ]


def test_the_history_is_of_what_may_be_seen(
    site: AdminSite, ann: Client, shown: Circuit, hidden: Circuit
) -> None:
    for query in ({}, {"circuit__id__exact": str(shown.pk)}):
        text = seen(ann, HISTORY, **query)
        assert "shown words" in text
        lines = list(csv.DictReader(io.StringIO(content(ann.get(EXPORT, query)))))
        assert [line["circuit"] for line in lines] == ["shown-circuit"]
    assert list(csv.reader(io.StringIO(content(ann.get(EXPORT, {"q": "hidden"})))))[1:] == []


def test_the_health_page_is_of_what_may_be_seen(
    site: AdminSite, ann: Client, shown: Circuit, hidden: Circuit
) -> None:
    answer = ann.get(HEALTH).json()
    assert [each["name"] for each in answer["circuits"]] == ["shown-circuit"]
    assert (answer["total"], answer["status"]) == (1, "degraded")
    Circuit.objects.filter(pk=shown.pk).update(state=State.CLOSED)
    assert ann.get(HEALTH).json()["status"] == "ok"


def test_metrics_of_all_circuits_take_the_token(
    site: AdminSite, ann: Client, hidden: Circuit, settings: Settings
) -> None:
    assert ann.get(METRICS).status_code == 403
    settings.CIRCUITS = {**settings.CIRCUITS, "HEALTH_TOKEN": "t" * 40}
    bearer = Client(headers={"Authorization": f"Bearer {'t' * 40}"})
    assert "hidden-circuit" in content(bearer.get(METRICS))
    assert "hidden-circuit" in content(bearer.get(HEALTH))


# Without such rules -------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [LIST, LIVE, HISTORY, EXPORT, HEALTH])
def test_where_there_is_no_rule_nothing_more_is_asked(ann: Client, url: str) -> None:
    """No list of keys is built, and the query of the history contains no query of circuits."""
    TransitionFactory.create(circuit=CircuitFactory.create(opened=True))
    with CaptureQueriesContext(connections["circuits"]) as asked:
        content(ann.get(url))
    assert not [each["sql"] for each in asked if "IN (SELECT" in each["sql"]]
    circuits = [
        each["sql"] for each in asked if "MOST" in each["sql"] or "LIMIT 10000" in each["sql"]
    ]
    assert circuits == []


@pytest.mark.usefixtures("ruled")
def test_a_page_of_one_circuit_asks_for_that_alone(ann: Client, shown: Circuit) -> None:
    CircuitFactory.create_batch(30)
    RuledAdmin.asked = 0
    for url in (page(shown), incident(shown, 1), operate(shown, "reset")):
        ann.get(url)
    ann.get(reverse("admin:circuits_transition_change", args=[shown.transitions.get().pk]))
    ann.get(HISTORY, {"circuit__id__exact": shown.pk})
    assert 0 < RuledAdmin.asked < 20


# The health page's texts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codename", "is_shown"), [("", False), ("operate_circuit", False), ("view_circuit", True)]
)
def test_the_words_of_remotes_are_for_those_who_may_view_circuits(
    codename: str, is_shown: bool, shown: Circuit
) -> None:
    client = Client()
    user = get_user_model().objects.create_user("ann", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename=codename))
    client.force_login(user)
    [entry] = client.get(HEALTH).json()["circuits"]
    assert entry["name"] == "shown-circuit"
    assert ("last_error" in entry) == is_shown
