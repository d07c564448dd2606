"""Incidents: how they are read from the history, their permanent URLs, and their pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits.console import page
from circuits.core.status import Mode, Reason, State
from circuits.models import Circuit, Minute, Transition
from circuits.reports import incidents
from circuits.tasks import prune
from tests.calls import fail, refusal, succeed
from tests.clock import DatabaseClock, database_clock
from tests.factories import CircuitFactory, TransitionFactory
from tests.plans import detours
from tests.staff import HISTORY, incident, seen, signed_in, text
from tests.staff import page as page_of

pytestmark = pytest.mark.usefixtures("committed")

CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN

REASONS = {
    (CLOSED, OPEN): Reason.FAILURES,
    (OPEN, HALF_OPEN): Reason.DELAY_PASSED,
    (HALF_OPEN, OPEN): Reason.TRIAL_FAILED,
    (HALF_OPEN, CLOSED): Reason.TRIAL_SUCCEEDED,
    (OPEN, CLOSED): Reason.RESET,
}

#: An hour ago, to the second.
THEN = (timezone.now() - timedelta(hours=1)).replace(microsecond=0)


def lived(
    states: Iterable[State], *, since: datetime = THEN, refusals: int = 0, name: str = "payments"
) -> Circuit:
    """Make a circuit that went through some states, one minute in each, starting with closed."""
    path = [CLOSED, *states]
    circuit: Circuit = CircuitFactory.create(name=name, generation=len(path) - 1)
    for generation, (before, after) in enumerate(pairwise(path), start=1):
        TransitionFactory.create(
            circuit=circuit,
            from_state=before,
            to_state=after,
            generation=generation,
            at=since + timedelta(minutes=generation),
            reason=REASONS[before, after],
            detail="HTTP 500" if before == CLOSED else "",
            refusals=refusals if after != CLOSED else 0,
        )
    return circuit


def generations(circuit: Circuit, number: int = 10) -> list[tuple[int, int, bool]]:
    """Return the first and last generation of each recent incident, and whether it is over."""
    return [
        (each.opening.generation, each.last_generation, each.is_over)
        for each in incidents.recent(circuit, number)
    ]


# Read --------------------------------------------------------------------------------------------


def test_of_an_incident_that_is_too_long_ago_to_be_summed_whole_that_is_said() -> None:
    circuit = lived([OPEN, CLOSED, OPEN, CLOSED], refusals=3)
    Circuit.objects.update(generation=incidents.SUMMED + 2)
    circuit.refresh_from_db()
    assert [each.is_cut for each in incidents.recent(circuit, 10)] == [False, True]
    found = incidents.one(circuit, 1)
    assert found is not None
    assert not found.is_cut


def test_an_incident_whose_end_is_not_kept_is_over_all_the_same() -> None:
    circuit = lived([OPEN, CLOSED, OPEN])
    circuit.transitions.filter(generation=2).delete()
    assert [each.is_over for each in incidents.recent(circuit, 10)] == [False, True]


def test_an_incident_goes_from_an_opening_to_the_next_closing() -> None:
    circuit = lived([OPEN, HALF_OPEN, OPEN, HALF_OPEN, CLOSED, OPEN, CLOSED, OPEN, HALF_OPEN])
    assert generations(circuit) == [(8, 9, False), (6, 7, True), (1, 5, True)]
    assert generations(circuit, 2) == [(8, 9, False), (6, 7, True)]


def test_a_circuit_that_was_never_open_has_none() -> None:
    circuit = CircuitFactory.create()
    circuits.get(circuit.name).observe()
    assert generations(Circuit.objects.get()) == []
    assert incidents.one(circuit, 1) is None


def test_somebody_who_forces_it_begins_and_ends_incidents_too() -> None:
    CircuitFactory(name="payments")
    payments = circuits.get("payments")
    payments.force_open()
    payments.automatic()
    payments.force_closed()
    payments.automatic()
    assert generations(Circuit.objects.get()) == [(1, 3, True)]


def test_another_mode_of_a_closed_circuit_is_no_part_of_one() -> None:
    fail("payments", 5)
    circuits.get("payments").reset()
    circuits.get("payments").observe()
    assert generations(Circuit.objects.get()) == [(1, 2, True)]


def test_it_counts_what_was_refused_and_what_failed_in_it_and_nothing_else() -> None:
    circuit = lived([OPEN, HALF_OPEN, OPEN, HALF_OPEN, CLOSED, OPEN, CLOSED], refusals=10)
    newest, first = incidents.recent(circuit, 2)
    assert (first.refusals, first.failed_trials, first.changes) == (40, 1, 5)
    assert (newest.refusals, newest.failed_trials, newest.changes) == (10, 0, 2)
    assert incidents.one(circuit, 1) == first
    assert incidents.one(circuit, 6) == newest


@pytest.mark.parametrize("generation", [2, 5])
def test_any_generation_of_an_incident_leads_to_it(generation: int) -> None:
    circuit = lived([OPEN, HALF_OPEN, OPEN, HALF_OPEN, CLOSED, OPEN])
    assert incidents.one(circuit, generation) == incidents.one(circuit, 1)
    assert incidents.one(circuit, generation) != incidents.one(circuit, 6)


@pytest.mark.parametrize("generation", [0, 3, 99])
def test_there_is_none_while_the_circuit_is_closed(generation: int) -> None:
    lived([OPEN, CLOSED])
    circuits.get("payments").observe()
    assert incidents.one(Circuit.objects.get(), generation) is None


def test_that_of_another_circuit_is_another() -> None:
    lived([OPEN, CLOSED])
    other = lived([OPEN, HALF_OPEN], name="mail")
    assert generations(other) == [(1, 2, False)]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterable[DatabaseClock]:
    with database_clock(monkeypatch) as clock:
        yield clock


def test_a_real_one_is_counted_to_the_call(database: DatabaseClock) -> None:
    fail("payments", 5)
    for _ in range(3):
        refusal("payments")
    database.jump(11)
    circuits.flush()
    circuits.get("payments").observe()  # so that this process looks anew
    circuits.get("payments").automatic()
    fail("payments")  # the trial
    for _ in range(4):
        refusal("payments")
    circuits.flush()
    database.jump(11)
    circuits.get("payments").observe()
    circuits.get("payments").automatic()
    succeed("payments")
    found = incidents.one(Circuit.objects.get(), 1)
    assert found is not None
    assert (found.refusals, found.failed_trials, found.is_over) == (7, 1, True)
    assert found.closing is not None
    lasted = (found.closing.at - found.opening.at).total_seconds()
    assert 22 <= lasted < 25


def test_they_are_read_by_an_index_however_long_the_history_is() -> None:
    flapping = lived([OPEN, *[HALF_OPEN, OPEN] * 400, CLOSED, OPEN, CLOSED])
    for number in range(50):
        lived([OPEN, CLOSED], name=f"other {number}")
    with CaptureQueriesContext(connections["circuits"]) as queries:
        incidents.recent(flapping, 10)
    assert len(queries) == 3
    assert detours(lambda: incidents.recent(flapping, 10), may_sort=True) == []
    assert detours(lambda: incidents.one(flapping, 1), may_sort=True) == []


# Shown -------------------------------------------------------------------------------------------


def test_its_page_says_when_how_long_why_and_what_it_cost(ann: Client) -> None:
    circuit = lived([OPEN, HALF_OPEN, OPEN, HALF_OPEN, CLOSED], refusals=1234)
    said = text(seen(ann, incident(circuit, 1))).replace(" ,", ",")
    assert f"Opened {THEN + timedelta(minutes=1):%Y-%m-%d %H:%M:%S} UTC" in said
    assert f"Closed {THEN + timedelta(minutes=5):%Y-%m-%d %H:%M:%S} UTC, trial succeeded" in said
    assert "Lasted 4 minutes Why too many failures: HTTP 500 Failed trials 1" in said
    assert "Refused calls 4936" in said.replace(",", "")
    assert said.index("closed → open") < said.index("half open → closed")


def test_one_that_goes_on_says_so(ann: Client) -> None:
    circuit = lived([OPEN, HALF_OPEN], since=timezone.now() - timedelta(hours=1))
    assert "Closed not yet: it goes on Lasted 59 minutes" in text(seen(ann, incident(circuit, 1)))


def test_who_began_and_ended_it_is_named(ann: Client) -> None:
    CircuitFactory(name="payments")
    circuits.get("payments").force_open(actor="ben", reason="they move house")
    circuits.get("payments").force_closed(actor="eve", reason="they are back")
    said = text(seen(ann, incident(Circuit.objects.get(), 1)))
    assert "mode changed, eve: they are back" in said
    assert "mode changed, ben : they move house" in said.replace("ben:", "ben :")


def test_of_many_changes_the_first_and_the_last_are_shown(ann: Client) -> None:
    circuit = lived([OPEN, *[HALF_OPEN, OPEN] * 40, CLOSED])
    html = seen(ann, incident(circuit, 1))
    assert html.count('<td data-circuits-label="At">') == 2 * page.ENDS
    assert f"Here {82 - 2 * page.ENDS} changes are left out." in text(html)
    (link,) = re.findall(r'href="([^"]*generation__gte[^"]*)"', html)
    listed = ann.get(link.replace("&amp;", "&"))
    assert listed.context["cl"].result_count == 82


def test_the_calls_of_its_time_are_drawn_while_they_are_kept(
    ann: Client, settings: Settings
) -> None:
    circuit = lived([OPEN, HALF_OPEN, CLOSED])
    minute = int(THEN.timestamp() // 60) + 2
    Minute.objects.create(circuit=circuit, minute=minute, failures=5, refusals=77)
    assert "77 refusals" in text(seen(ann, incident(circuit, 1)))
    Minute.objects.all().delete()
    assert "How the calls of that time went is not kept." in text(seen(ann, incident(circuit, 1)))


def test_the_address_stays_while_its_opening_is_kept(ann: Client, settings: Settings) -> None:
    old = timezone.now() - timedelta(days=100)
    circuit = lived([OPEN, CLOSED, OPEN, CLOSED], since=old)
    assert ann.get(incident(circuit, 1)).status_code == 200
    prune()
    response = ann.get(incident(circuit, 1))
    assert response.status_code == 404
    said = text(response.content.decode())
    assert "This incident of payments is not kept, or no longer. To the page of payments" in said
    circuit.delete()
    assert "This circuit is no longer there." in text(
        ann.get(incident(Circuit(pk=10**9), 1)).content.decode()
    )


def test_the_page_of_the_circuit_and_the_history_lead_to_it(ann: Client) -> None:
    circuit = lived([OPEN, HALF_OPEN, CLOSED], refusals=3)
    html = seen(ann, page_of(circuit))
    assert html.count(f'href="{incident(circuit, 1)}"') == 2  # among incidents and changes
    said = text(html)
    assert "Last incidents" in said
    assert "2 minutes too many failures: HTTP 500 0 6" in said
    assert seen(ann, HISTORY).count(f'href="{incident(circuit, 1)}"') == 1


def test_who_may_only_look_may_see_it() -> None:
    circuit = lived([OPEN, CLOSED])
    client = signed_in("view_circuit")
    before = list(Transition.objects.values())
    assert client.get(incident(circuit, 1)).status_code == 200
    assert client.post(incident(circuit, 1)).status_code == 405
    assert list(Transition.objects.values()) == before


def test_a_mode_that_ends_tells_when_in_the_changes(ann: Client) -> None:
    CircuitFactory(name="payments")
    circuits.get("payments").force_open(seconds=1800)
    circuit = Circuit.objects.get()
    assert circuit.mode == Mode.FORCED_OPEN
    shown = text(seen(ann, page_of(circuit)))
    assert re.search(r"automatic → forced open, until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", shown)
    circuits.get("payments").force_open()
    assert "UTC forced open mode changed" in text(seen(ann, page_of(circuit)))


def test_what_was_only_observed_is_told_as_such(ann: Client) -> None:
    circuit = lived([OPEN], refusals=3)
    circuit.transitions.update(to_mode=Mode.OBSERVE)
    assert "◌ observe too many failures" in text(seen(ann, page_of(circuit)))
    shown = text(seen(ann, incident(circuit, 1)))
    assert "Would have been refused 3" in shown
    assert "Refused calls 3" not in shown
