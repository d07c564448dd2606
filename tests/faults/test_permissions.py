"""The permissions for every URL and action of the app, in one table.

The tests find addresses and actions by themselves, so a new one fails until it has a row here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from circuits import urls as pages
from circuits.console.policy_form import SHARES
from circuits.models import POLICY_FIELDS, Circuit, Recording, Transition
from circuits.steering.operations import OPERATIONS
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed", "faults_allowed")

TOKEN = "only-for-tests"

#: The permissions of each member of staff.
STAFF: dict[str, tuple[str, ...]] = {
    "staff": (),
    "viewer": ("view_circuit",),
    "changer": ("change_circuit",),
    "operator": ("view_circuit", "operate_circuit"),
}

#: All visitors. A monitor sends the health token; a user is logged in but not a member of staff.
EVERYBODY = ("anonymous", "monitor", "user", *STAFF, "superuser")

NOBODY: frozenset[str] = frozenset()
SUPERUSER = frozenset({"superuser"})
ALL_STAFF = frozenset({*STAFF, "superuser"})
VIEWERS = frozenset({"viewer", "operator", "superuser"})
CHANGERS = frozenset({"changer", "superuser"})
OPERATORS = frozenset({"operator", "superuser"})
MONITORS = ALL_STAFF | {"monitor"}

#: The path in the table for an address that redirects to a circuit's page.
TO_CHANGE = "<path:object_id>/"
TO_LIST = "circuits_circuit_unfold"

#: Who sees each page, by the name of its address.
LOOKING: dict[str, frozenset[str]] = {
    "circuits_circuit_changelist": VIEWERS | CHANGERS,
    "circuits_circuit_add": SUPERUSER,
    "circuits_circuit_history": VIEWERS | CHANGERS,
    "circuits_circuit_delete": SUPERUSER,
    "circuits_circuit_change": VIEWERS | CHANGERS,
    "circuits_circuit_live": VIEWERS | CHANGERS,
    "circuits_circuit_live_one": VIEWERS | CHANGERS,
    "circuits_circuit_incident": VIEWERS | CHANGERS,
    "circuits_circuit_replay": VIEWERS | CHANGERS,
    # The pages that ask for confirmation; those for many circuits follow a choice in the list.
    **{f"circuits_circuit_operate {key}": OPERATORS for key in OPERATIONS},
    **{f"circuits_circuit_operate_many {key}": NOBODY for key in OPERATIONS},
    f"circuit {TO_CHANGE}": NOBODY,
    # It redirects to the list.
    TO_LIST: NOBODY,
    "circuits_transition_changelist": VIEWERS,
    "circuits_transition_export": VIEWERS,
    "circuits_transition_add": NOBODY,
    "circuits_transition_history": VIEWERS,
    "circuits_transition_delete": NOBODY,
    "circuits_transition_change": VIEWERS,
    f"transition {TO_CHANGE}": NOBODY,
    "circuits_opening_changelist": VIEWERS,
    "circuits_opening_add": NOBODY,
    "circuits_opening_history": VIEWERS,
    "circuits_opening_delete": NOBODY,
    "circuits_opening_change": VIEWERS,
    f"opening {TO_CHANGE}": NOBODY,
    "health": MONITORS,
    "metrics": MONITORS,
}

_POLICY = {name: getattr(Circuit(), name) for name in POLICY_FIELDS}

#: The data of a new circuit's form, which takes shares in percent.
FORM = _POLICY | {name: 100 * _POLICY[name] for name in SHARES}

LOG = "django_admin_log"
CIRCUITS, TRANSITIONS = Circuit._meta.db_table, Transition._meta.db_table
RECORDINGS = Recording._meta.db_table

OPERATING = frozenset({CIRCUITS, TRANSITIONS, LOG})


class Deed(NamedTuple):
    """What a POST to an address does.

    Args:
        who: The visitors who may do it.
        tables: The tables that it may change.
        columns: The columns that it may change in a circuit that stays.
    """

    address: str
    data: dict[str, Any]
    who: frozenset[str] = NOBODY
    tables: frozenset[str] = NOBODY
    columns: frozenset[str] = NOBODY


#: The columns that an operation sets: all except the policy and the name.
STATE = frozenset(each.name for each in Circuit._meta.concrete_fields) - {*POLICY_FIELDS, "name"}

ACTIONS = {
    # They only ask for confirmation.
    **{key: Deed("", {}) for key in OPERATIONS},
    "delete_selected": Deed("", {"post": "yes"}, SUPERUSER, OPERATING),
}

#: What the operations need to be told that do nothing otherwise.
ASKED: dict[str, dict[str, Any]] = {"inject": {"failures": 50, "delay": 0, "seconds": 600}}

_DEEDS = [
    Deed("circuits_circuit_add", FORM | {"name": "new"}, SUPERUSER, frozenset({CIRCUITS, LOG})),
    Deed(
        "circuits_circuit_change",
        FORM | {"threshold": 9, "state": "closed", "mode": "forced_closed", "name": "other"},
        CHANGERS,
        frozenset({CIRCUITS, LOG}),
        frozenset(POLICY_FIELDS),
    ),
    Deed("circuits_circuit_delete", {"post": "yes"}, SUPERUSER, OPERATING),
    Deed("circuits_circuit_replay", {}, OPERATORS, frozenset({CIRCUITS, RECORDINGS, LOG}), STATE),
    *(
        Deed(f"circuits_circuit_{view} {key}", ASKED.get(key, {}), OPERATORS, OPERATING, STATE)
        for view in ("operate", "operate_many")
        for key in OPERATIONS
    ),
    *(
        deed._replace(address="circuits_circuit_changelist", data={**deed.data, "action": key})
        for key, deed in ACTIONS.items()
    ),
]

#: Who can change what by a POST to each address; a POST to any other changes nothing.
DOING = [
    *_DEEDS,
    *(
        Deed(address, {"post": "yes", "detail": "never happened", "action": "delete_selected"})
        for address in LOOKING
        if address not in {deed.address for deed in _DEEDS}
    ),
]
DEEDS = {" ".join([deed.address, *map(str, deed.data.values())])[:80]: deed for deed in DOING}
DEEDS_OF_SOME = {name: deed for name, deed in DEEDS.items() if deed.who}


@pytest.fixture(autouse=True)
def _site(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "HEALTH_TOKEN": TOKEN, "PROMETHEUS": True}


def client_of(who: str) -> Client:
    """Return the test client of a visitor."""
    if who == "monitor":
        return Client(headers={"Authorization": f"Bearer {TOKEN}"})
    client = Client()
    if who != "anonymous":
        is_admin = who == "superuser"
        user = get_user_model().objects.create_user(
            who, is_staff=is_admin or who in STAFF, is_superuser=is_admin
        )
        user.user_permissions.set(Permission.objects.filter(codename__in=STAFF.get(who, ())))
        client.force_login(user)
    return client


def circuit_with_history() -> Circuit:
    """Make an open circuit whose delay has passed, so that any code could be tempted to move it."""
    circuit: Circuit = CircuitFactory.create(name="payments", expired=True)
    TransitionFactory.create(circuit=circuit)
    return circuit


def address_of(name: str, circuit: Circuit) -> str:
    """Return the URL of an address of the table, for the circuit or its transition."""
    if name in {pattern.name for pattern in pages.urlpatterns}:
        return reverse(f"circuits_status:{name}")
    transition = circuit.transitions.get()
    is_of_history = "transition" in name or "opening" in name
    pk = transition.pk if is_of_history else circuit.pk
    if "_operate" in name:
        view, key = name.split()
        return reverse(f"admin:{view}", args=[key] if "_many" in view else [pk, key])
    if name.endswith("_incident"):
        return reverse(f"admin:{name}", args=[pk, transition.generation])
    if name.endswith(TO_CHANGE):
        start = reverse(f"admin:circuits_{name.split()[0]}_changelist")
        return f"{start}{pk}/"
    has_one = not name.endswith(("_changelist", "_add", "_live", "_export"))
    return reverse(f"admin:{name}", args=[pk] if has_one else [])


def database() -> dict[str, list[Any]]:
    """Return the contents of both databases, table by table."""
    found = {}
    for alias in connections:
        with connections[alias].cursor() as cursor:
            for table in connections[alias].introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connections[alias].ops.quote_name(table)}")
                found[f"{table}" if alias == "circuits" else f"{alias} {table}"] = sorted(
                    map(repr, cursor.fetchall())
                )
    return found


def changed(before: dict[str, list[Any]]) -> set[str]:
    """Return the names of the tables whose contents have changed."""
    now = database()
    assert now.keys() == before.keys()
    # Where both aliases are one database, both name the same table.
    return {table.removeprefix("default ") for table in now if now[table] != before[table]}


# The table is whole -------------------------------------------------------------------------------


def test_every_address_has_a_row() -> None:
    """A new page or endpoint fails until its permissions are written here."""
    found = {pattern.name for pattern in pages.urlpatterns}
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label == "circuits":
            kind = model._meta.model_name
            found |= {each.name or f"{kind} {each.pattern}" for each in model_admin.get_urls()}
    told = {name.split()[0] if "_operate" in name else name for name in LOOKING}
    assert found == told


def test_every_action_has_a_row() -> None:
    """A new action, on any model of the app, fails until its permissions are written here."""
    request = RequestFactory().get("/")
    request.user = get_user_model().objects.create_superuser("root")
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label == "circuits":
            expected = ACTIONS.keys() if model is Circuit else set()
            assert model_admin.get_actions(request).keys() == expected


# And true ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", LOOKING)
def test_looking(address: str) -> None:
    """GET shows a page to users who may see it, and never changes anything.

    That holds even if the query contains everything that a POST would act on.
    """
    circuit = circuit_with_history()
    clients = {who: client_of(who) for who in EVERYBODY}
    url = address_of(address, circuit)
    asked = {"action": "reset", "operation": "reset", "post": "yes", "threshold": "9"}
    before = database()
    for who, client in clients.items():
        response = client.get(url)
        assert (response.status_code == 200) == (who in LOOKING[address]), who
        if response.status_code != 200:
            _assert_denied(response, address, who)
            assert "payments" not in response.content.decode()
        client.get(url, {**asked, "_selected_action": str(circuit.pk)})
        client.head(url)
        client.options(url)
    assert changed(before) == set()


def _assert_denied(response: Any, address: str, who: str) -> None:
    if address in ("health", "metrics"):
        assert response.status_code == (403 if who == "user" else 401)
    elif who not in ALL_STAFF:
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")
    elif address == TO_LIST and who in VIEWERS | CHANGERS:
        assert response.headers["Location"].startswith(reverse("admin:circuits_circuit_changelist"))
    elif address.endswith(TO_CHANGE):
        assert response.headers["Location"].endswith("/change/")
    else:
        assert response.status_code == (405 if "_operate_many" in address else 403)


def do(deed: Deed, circuit: Circuit, client: Client) -> None:
    data = {**deed.data, "_selected_action": circuit.pk, "keys": circuit.pk}
    assert client.post(address_of(deed.address, circuit), data).status_code < 500


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_doing_without_permission(deed: Deed) -> None:
    """POST changes nothing at all for those who may not do it."""
    circuit = circuit_with_history()
    clients = [client_of(who) for who in EVERYBODY if who not in deed.who]
    before = database()
    for client in clients:
        do(deed, circuit, client)
    assert changed(before) == set()


@pytest.mark.parametrize("deed", DEEDS_OF_SOME.values(), ids=DEEDS_OF_SOME)
def test_doing_with_permission(deed: Deed) -> None:
    """POST works for everyone who may do it, and changes nothing else."""
    for who in deed.who:
        Circuit.objects.all().delete()
        circuit = circuit_with_history()
        client = client_of(who)
        kept: dict[str, Any] = {**Circuit.objects.values().get()}
        before = database()
        do(deed, circuit, client)
        assert set() < changed(before) <= deed.tables, who
        for now in Circuit.objects.filter(pk=circuit.pk).values():
            assert {name for name, value in now.items() if value != kept[name]} <= deed.columns


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("who", sorted(OPERATORS))
def test_a_form_from_elsewhere_is_refused(who: str, operation: str) -> None:
    """A page of another site cannot steer a circuit through the browser of somebody who may."""
    circuit = circuit_with_history()
    client = client_of(who)
    client.handler.enforce_csrf_checks = True
    before = database()
    for view in ("operate", "operate_many"):
        url = address_of(f"circuits_circuit_{view} {operation}", circuit)
        assert client.post(url, {"keys": circuit.pk}).status_code == 403
    assert changed(before) == set()
