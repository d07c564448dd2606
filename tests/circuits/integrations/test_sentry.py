"""What Sentry records of changes of state: breadcrumbs and, by choice, issues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import F
from pytest_django import Settings

import circuits
from circuits.integrations import setup
from circuits.models import Circuit
from circuits.process import runtime

sentry_sdk = pytest.importorskip("sentry_sdk")
sentry = pytest.importorskip("circuits.integrations.sentry")

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """Yield the list of events that would be sent."""
    sent: list[Any] = []

    class Kept(sentry_sdk.Transport):  # type: ignore[misc, name-defined]
        def capture_envelope(self, envelope: Any) -> None:
            event = envelope.get_event()
            if event is not None:
                sent.append(event)

    with sentry_sdk.isolation_scope() as scope:
        scope.clear()
        sentry_sdk.init(
            "https://key@sentry.example/1",
            transport=Kept,
            release="tests",  # or it asks git
            default_integrations=False,
            auto_enabling_integrations=False,
        )
        yield sent
        sentry_sdk.get_client().close()
        sentry_sdk.init()
    sentry.disconnect()


def fail() -> None:
    with pytest.raises(ConnectionError), circuits.guard("payments"):
        raise ConnectionError("down, with the token s3cret")


def try_again() -> None:
    Circuit.objects.update(retry_at=F("opened_at"))
    runtime.forget()


def a_long_incident() -> None:
    """Open the circuit, let one trial fail, and let it recover."""
    for _ in range(5):
        fail()
    try_again()
    fail()
    try_again()
    with circuits.guard("payments"):
        pass


def test_each_change_of_state_is_a_breadcrumb(events: list[Any]) -> None:
    sentry.connect(issues=False)
    a_long_incident()
    circuits.get("payments").observe()  # changes the mode and not the state
    assert events == []
    sentry_sdk.capture_message("an error of the site's own")
    [event] = events
    crumbs = event["breadcrumbs"]["values"]
    assert [(crumb["message"], crumb["level"]) for crumb in crumbs] == [
        ("payments: from closed to open", "warning"),
        ("payments: from open to half_open", "info"),
        ("payments: from half_open to open", "warning"),
        ("payments: from open to half_open", "info"),
        ("payments: from half_open to closed", "info"),
    ]
    assert {crumb["category"] for crumb in crumbs} == {"circuits"}


def test_by_choice_each_incident_is_an_issue_of_its_own(events: list[Any]) -> None:
    sentry.connect(issues=True)
    a_long_incident()
    a_long_incident()
    assert [event["message"] for event in events] == ["The circuit payments has opened"] * 2
    one, other = (event["fingerprint"] for event in events)
    assert one != other
    assert {event["tags"]["circuit.name"] for event in events} == {"payments"}


@pytest.mark.parametrize(
    ("keys", "issues"),
    [({"SENTRY_ISSUES": True}, 1), ({}, 0), ({"SENTRY": False, "SENTRY_ISSUES": True}, 0)],
)
def test_the_settings_choose(
    events: list[Any], settings: Settings, keys: dict[str, bool], issues: int
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, **keys}
    setup.connect()
    for _ in range(5):
        fail()
    assert len(events) == issues
    sentry_sdk.capture_message("an error of the site's own")
    crumbs = events[-1].get("breadcrumbs", {}).get("values", [])
    assert bool(crumbs) is keys.get("SENTRY", True)


def test_no_text_of_an_exception_is_sent(events: list[Any]) -> None:
    sentry.connect(issues=True)
    a_long_incident()
    assert "s3cret" not in repr(events)
