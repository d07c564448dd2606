"""Families: a member is made like its family and follows its policy, and nothing else of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits.core.families import family_of
from circuits.core.status import Mode, State
from circuits.models import Circuit
from circuits.storage.families import in_family, save_policy
from circuits.tasks import prune
from tests.calls import fail, refusal, succeed
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed")

NAMES = {
    "payments": "",
    "payments/refunds": "payments",
    "payments/refunds/eu": "payments",
    "partner/pay.example": "partner",
    "https://pay.example": "",
    "/payments": "",
    "payments/": "",
    "a//b": "",
    "é/b": "é",
}


def configure(settings: Settings, **values: Any) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, **values}


def made(name: str) -> Circuit:
    """Return the circuit that a first call makes."""
    succeed(name)
    return Circuit.objects.get(name=name)


# Which family ------------------------------------------------------------------------------------


def test_the_database_finds_the_family_that_a_name_says() -> None:
    for name in NAMES:
        CircuitFactory.create(name=name)
    assert dict(Circuit.objects.values_list("name", "family")) == NAMES
    assert {name: family_of(name) for name in NAMES} == NAMES


# What a member begins with -----------------------------------------------------------------------


def test_a_new_member_takes_the_policy_of_its_familys_circuit() -> None:
    CircuitFactory.create(name="payments", threshold=2, timeout=3, probe_url="https://pay.example/")
    member = made("payments/refunds")
    assert (member.threshold, member.timeout, member.probe_url) == (2, 3, "")


def test_without_such_a_circuit_it_takes_what_the_settings_say(settings: Settings) -> None:
    configure(settings, CIRCUITS={"payments": {"threshold": 2}}, DEFAULTS={"delay": 44})
    member = made("payments/refunds")
    assert (member.threshold, member.delay) == (2, 44)


def test_its_own_settings_are_above_those_of_its_family(settings: Settings) -> None:
    CircuitFactory.create(name="payments", threshold=2, delay=44)
    configure(settings, CIRCUITS={"payments/refunds": {"threshold": 9}})
    member = made("payments/refunds")
    assert (member.threshold, member.delay) == (9, 44)


def test_a_member_that_fails_opens_no_other_and_not_its_family() -> None:
    for name in ("payments", "payments/charges", "payments/refunds"):
        made(name)
    fail("payments/refunds", 5)
    refusal("payments/refunds")
    for name in ("payments", "payments/charges"):
        succeed(name)
        assert circuits.get(name).state is State.CLOSED


# What is carried to it ---------------------------------------------------------------------------


def test_a_change_is_carried_to_the_members_that_have_the_old_value() -> None:
    head = CircuitFactory.create(name="payments")
    follows = CircuitFactory.create(name="payments/charges")
    own = CircuitFactory.create(name="payments/refunds", threshold=9)
    other = CircuitFactory.create(name="paymentsx/refunds")
    head.threshold, head.delay = 3, 20
    assert save_policy(head, ["threshold", "delay"]) == 2
    found = {each.pk: (each.threshold, each.delay) for each in Circuit.objects.all()}
    assert found == {head.pk: (3, 20), follows.pk: (3, 20), own.pk: (9, 20), other.pk: (5, 10)}


def test_a_field_that_is_saved_unchanged_is_carried_to_nobody() -> None:
    head = CircuitFactory.create(name="payments")
    CircuitFactory.create(name="payments/charges")
    CircuitFactory.create(name="payments/refunds", threshold=9)
    head.threshold = 3
    assert save_policy(head, ["threshold", "delay", "probe_url"]) == 1


# When it goes ------------------------------------------------------------------------------------


def idle(name: str, days: float = 31, **fields: Any) -> Circuit:
    """Make a circuit that was last used some days ago."""
    at = timezone.now() - timedelta(days=days)
    circuit: Circuit = CircuitFactory.create(name=name, **{"last_attempt_at": at, **fields})
    return circuit


def left() -> set[str]:
    prune()
    return set(Circuit.objects.values_list("name", flat=True))


def test_an_idle_member_goes_and_its_family_stays() -> None:
    idle("payments", threshold=3)
    idle("payments/charges", threshold=3)
    idle("payments/refunds", threshold=3, days=29)
    idle("partner/pay.example")
    assert left() == {"payments", "payments/refunds"}


def test_what_somebody_has_set_or_what_is_down_stays(settings: Settings) -> None:
    configure(settings, CIRCUITS={"payments/named": {}})
    idle("payments", threshold=3)
    kept = [
        idle("payments/own", threshold=5),
        idle("payments/probed", threshold=3, probe_url="https://pay.example/"),
        idle("payments/named", threshold=3),
        idle("payments/steered", threshold=3, mode=Mode.FORCED_CLOSED),
        idle("payments/down", threshold=3, state=State.OPEN, retry_at=timezone.now()),
        idle("alone/own", threshold=3),
    ]
    told = idle("payments/told", threshold=3)
    TransitionFactory.create(circuit=told, pending=True)
    assert left() == {"payments", "payments/told", *(each.name for each in kept)}


def test_with_no_days_every_member_stays(settings: Settings) -> None:
    configure(settings, IDLE_DAYS=0)
    idle("payments/charges", days=3_000)
    assert left() == {"payments/charges"}


def test_members_that_follow_a_policy_make_room_too(settings: Settings) -> None:
    configure(settings, MAX_CIRCUITS=2)
    idle("payments", threshold=3)
    idle("payments/charges", threshold=3)
    succeed("payments/refunds")
    assert set(Circuit.objects.values_list("name", flat=True)) == {"payments", "payments/refunds"}


def test_a_family_is_its_members_and_the_circuit_of_its_name() -> None:
    for name in ("payments", "payments/refunds", "partner", "partner/pay.example", "mail"):
        CircuitFactory.create(name=name)
    found = Circuit.objects.filter(in_family("payments", "partner"))
    assert {each.name for each in found} == {
        "payments",
        "payments/refunds",
        "partner",
        "partner/pay.example",
    }
