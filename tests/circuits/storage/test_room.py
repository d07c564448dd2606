"""A flood of new names: idle circuits make room, and no circuit that matters is deleted."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits import once_a_minute
from circuits.core.status import Mode, State
from circuits.models import Circuit
from circuits.storage.database import DatabaseStore
from tests.calls import fail, succeed
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed")

LONG_AGO = timezone.now() - timedelta(hours=1)


@pytest.fixture(autouse=True)
def _three_at_most(settings: Settings) -> None:
    once_a_minute.forget()
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_CIRCUITS": 3, "FLUSH_SECONDS": 5}


def unused(name: str, **fields: Any) -> Circuit:
    """Make a circuit that nobody has used for an hour."""
    circuit: Circuit = CircuitFactory.create(name=name, **{"last_attempt_at": LONG_AGO, **fields})
    return circuit


def names() -> set[str]:
    return set(Circuit.objects.values_list("name", flat=True))


def test_the_least_used_goes(caplog: pytest.LogCaptureFixture) -> None:
    unused("often", total_successes=1_000)
    unused("seldom", total_successes=1, total_refusals=1)
    unused("sometimes", total_failures=30)
    succeed("new")
    assert names() == {"often", "sometimes", "new"}
    assert "There are 3 circuits, so those used least are deleted" in caplog.text
    assert [record.levelno for record in caplog.records if "3 circuits" in record.message] == [
        logging.WARNING
    ]


def test_of_those_used_alike_the_one_unused_for_longest_goes() -> None:
    for days in (2, 3, 1):
        unused(f"{days} days", last_attempt_at=timezone.now() - timedelta(days=days))
    succeed("new")
    assert names() == {"2 days", "1 days", "new"}


def test_one_that_was_never_called_goes_by_when_it_was_made() -> None:
    unused("made long ago", last_attempt_at=None, created_at=LONG_AGO)
    unused("made just now", last_attempt_at=None)
    unused("called just now", last_attempt_at=timezone.now())
    succeed("new")
    assert names() == {"made just now", "called just now", "new"}


def test_those_in_use_stay() -> None:
    for number in range(3):
        unused(f"{number}", last_attempt_at=timezone.now() - timedelta(seconds=20))
    with pytest.raises(circuits.TooManyCircuitsError):
        succeed("new")
    assert names() == {"0", "1", "2"}


@pytest.mark.parametrize(
    "kept",
    [
        {"mode": Mode.FORCED_OPEN},
        {"mode": Mode.OBSERVE},
        {"threshold": 9},
        {"timeout": 1.5},
        {"probe_url": "https://payments.example/"},
        {"failure_statuses": "429"},
        {"name": "configured"},
        {"opened": True, "state_changed_at": LONG_AGO},
        {"opened": True, "retry_at": LONG_AGO},
        {
            "opened": True,
            "state": State.HALF_OPEN,
            "retry_at": None,
            "state_changed_at": LONG_AGO,
            "leases": [["a", 4e9]],
        },
    ],
    ids=lambda kept: " ".join(kept),
)
def test_what_somebody_has_a_wish_about_stays(settings: Settings, kept: dict[str, Any]) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": {"configured": {}}}
    circuit = unused(**{"name": "kept", **kept})
    for number in range(2):
        unused(f"{number}", total_successes=1_000)
    for number in range(5):
        succeed(f"new {number}")
        Circuit.objects.exclude(pk=circuit.pk).update(last_attempt_at=LONG_AGO)
    assert circuit.name in names()
    assert len(names()) == 3


def test_what_people_have_yet_to_be_told_of_stays() -> None:
    told, untold = unused("told"), unused("untold")
    TransitionFactory.create(circuit=told)
    TransitionFactory.create(circuit=untold, pending=True)
    unused("third", total_successes=9)
    succeed("new")
    assert names() == {"untold", "third", "new"}


def test_an_open_one_that_nobody_has_called_since_its_delay_goes() -> None:
    past = {"state_changed_at": LONG_AGO, "opened_at": LONG_AGO, "retry_at": LONG_AGO}
    unused("open", opened=True, **past)
    unused("half open", opened=True, **past | {"state": State.HALF_OPEN, "retry_at": None})
    unused("closed", total_successes=9)
    succeed("new")
    succeed("newer")
    assert names() == {"closed", "new", "newer"}


def test_the_policy_of_new_circuits_is_no_wish(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "DEFAULTS": {"threshold": 7}}
    for number in range(3):
        unused(f"{number}", threshold=7)
    succeed("new")
    assert "new" in names()


def test_a_circuit_that_was_deleted_in_use_is_made_anew() -> None:
    """A process that knew the circuit goes on, and its failures count from then on."""
    succeed("payments")
    Circuit.objects.update(last_attempt_at=LONG_AGO, created_at=LONG_AGO)
    for number in range(3):
        succeed(f"new {number}")
    assert "payments" not in names()
    Circuit.objects.update(last_attempt_at=LONG_AGO, created_at=LONG_AGO)
    fail("payments", 5)
    assert circuits.get("payments").state == State.OPEN


def test_a_flood_costs_a_few_queries_each(settings: Settings) -> None:
    """One in a hundred is deleted at a time, so that not every new name has to make room."""
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_CIRCUITS": 500}
    Circuit.objects.bulk_create(
        CircuitFactory.build(name=f"host-{number}", last_attempt_at=LONG_AGO)
        for number in range(500)
    )
    DatabaseStore().read("new")
    assert Circuit.objects.count() == 496
    assert "new" in names()
