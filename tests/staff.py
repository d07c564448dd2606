"""Helpers for tests of the admin: URLs, texts on pages, and messages."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from circuits.core.status import Mode
from circuits.models import Circuit, Transition

LIST = reverse("admin:circuits_circuit_changelist")
HISTORY = reverse("admin:circuits_transition_changelist")

#: The arguments with which a factory makes a circuit that somebody has forced open.
FORCED_OPEN = {"opened": True, "mode": Mode.FORCED_OPEN}


def page(circuit: Circuit) -> str:
    return reverse("admin:circuits_circuit_change", args=[circuit.pk])


def operate(circuit: Circuit, key: str) -> str:
    return reverse("admin:circuits_circuit_operate", args=[circuit.pk, key])


def operate_many(key: str) -> str:
    return reverse("admin:circuits_circuit_operate_many", args=[key])


def incident(circuit: Circuit, generation: int) -> str:
    return reverse("admin:circuits_circuit_incident", args=[circuit.pk, generation])


def signed_in(*permissions: str, name: str = "ann", **options: Any) -> Client:
    """Return a test client that is logged in as a member of staff with these permissions."""
    client = Client(**options)
    user = get_user_model().objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def text(html: str) -> str:
    """Return the text of some HTML as a person reads it."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def seen(client: Client, url: str, **query: str) -> str:
    """Return the HTML of a page."""
    response = client.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


def said(response: Any) -> list[tuple[str, str]]:
    """Return the level and text of each message that a response left for the next page."""
    return [(each.level_tag, each.message) for each in get_messages(response.wsgi_request)]


def rows() -> list[Any]:
    """Return everything that an operation could change."""
    return [
        list(model.objects.order_by("pk").values()) for model in (Circuit, Transition, LogEntry)
    ]
