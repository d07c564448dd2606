"""The admin, as staff use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.staticfiles import finders
from django.db import connections
from django.db.models.signals import pre_save
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits import conf
from circuits.console.policy_form import SHARES
from circuits.core.status import Mode, Reason, State
from circuits.models import POLICY_FIELDS, Circuit, Transition
from tests.calls import fail
from tests.factories import CircuitFactory, TransitionFactory
from tests.staff import (
    FORCED_OPEN,
    HISTORY,
    LIST,
    operate,
    operate_many,
    page,
    rows,
    seen,
    signed_in,
    text,
)

pytestmark = pytest.mark.usefixtures("committed")

ADD = reverse("admin:circuits_circuit_add")

SCRIPT = "<script>alert(1)</script>"

#: The policy of a new circuit, and the data of its form when nobody has changed anything.
POLICY = {name: getattr(Circuit(), name) for name in POLICY_FIELDS}
FORM = POLICY | {name: 100 * POLICY[name] for name in SHARES}


def delete(circuit: Circuit) -> str:
    return reverse("admin:circuits_circuit_delete", args=[circuit.pk])


def names(client: Client, **query: str) -> list[str]:
    """Return the circuits of the list, from the top."""
    return [circuit.name for circuit in client.get(LIST, query).context["cl"].result_list]


def cell(html: str, field: str) -> str:
    """Return the cell of a list with one row."""
    (found,) = re.findall(rf'<t[dh] class="field-{field}[^"]*">(.*?)</t[dh]>', html, re.DOTALL)
    return str(found)


def readonly(html: str, field: str) -> str:
    """Return what a form shows for a read-only field."""
    found = re.search(
        rf'class="form-row field-{field}">.*?<div class="readonly">(.*?)</div>', html, re.DOTALL
    )
    assert found
    return text(found[1])


# The list ----------------------------------------------------------------------------------------


def test_what_is_down_comes_first(ann: Client) -> None:
    CircuitFactory.create(name="b")
    CircuitFactory.create(name="a")
    CircuitFactory.create(name="watched", mode=Mode.OBSERVE)
    CircuitFactory.create(name="recovering", state=State.HALF_OPEN)
    CircuitFactory.create(name="let through", mode=Mode.FORCED_CLOSED)
    CircuitFactory.create(name="shut", opened=True, mode=Mode.FORCED_OPEN)
    CircuitFactory.create(name="down", opened=True)
    expected = ["down", "shut", "let through", "recovering", "a", "b", "watched"]
    assert names(ann) == expected


@pytest.mark.parametrize(
    ("state", "words"),
    [(State.CLOSED, "✓ closed"), (State.OPEN, "✕ open"), (State.HALF_OPEN, "◐ half open")],
)
def test_a_state_is_a_sign_a_word_and_a_colour(ann: Client, state: State, words: str) -> None:
    CircuitFactory.create(opened=True)
    Circuit.objects.update(state=state)
    badge = cell(seen(ann, LIST), "state_badge")
    assert text(badge) == words
    assert f"circuits-badge circuits-{state}" in badge


@pytest.mark.parametrize("mode", Mode)
def test_a_mode_that_is_not_automatic_stands_out(ann: Client, mode: Mode) -> None:
    CircuitFactory.create(opened=True, mode=mode)
    shown = cell(seen(ann, LIST), "error")
    assert text(shown) == ("—" if mode is Mode.AUTOMATIC else mode.replace("_", " "))
    assert ("<strong" in shown) == (mode is not Mode.AUTOMATIC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1.5, "1 second"), (12.5, "12 seconds"), (200, "3 minutes"), (3900, "1 hour, 5 minutes")],
)
def test_the_list_says_since_when_and_for_how_long_a_circuit_has_been_down(
    ann: Client, seconds: float, words: str
) -> None:
    moment = timezone.now() - timedelta(seconds=seconds)
    CircuitFactory.create(opened=True, down_since=moment)
    shown = cell(seen(ann, LIST), "since")
    assert re.fullmatch(rf"Down since (\d+ \w+ )?\d\d:\d\d \({words}\), 0 refused", text(shown))
    assert f'title="{moment:%Y-%m-%d %H:%M:%S} UTC"' in shown


def test_a_circuit_that_never_changed_is_in_its_state_since_it_was_made(ann: Client) -> None:
    CircuitFactory.create()
    Circuit.objects.update(created_at=timezone.now() - timedelta(days=2, seconds=1))
    assert text(cell(seen(ann, LIST), "since")).endswith("(2 days)")


@pytest.mark.parametrize(
    ("seconds", "mode", "words"),
    [
        (7, Mode.AUTOMATIC, "in 7 s"),
        (7, Mode.OBSERVE, "in 7 s"),
        (7, Mode.FORCED_OPEN, "—"),
        (125, Mode.AUTOMATIC, "in 2:05"),
        (-1, Mode.AUTOMATIC, "now"),
    ],
)
def test_when_an_open_circuit_lets_a_call_through(
    ann: Client, seconds: float, mode: Mode, words: str
) -> None:
    moment = timezone.now() + timedelta(seconds=seconds)
    CircuitFactory.create(opened=True, mode=mode, retry_at=moment)
    assert text(cell(seen(ann, LIST), "retry_in")) == words


def test_a_circuit_that_is_not_open_waits_for_nothing(ann: Client) -> None:
    CircuitFactory.create()
    assert cell(seen(ann, LIST), "retry_in") == "—"


def test_times_count_by_the_clock_of_the_database(ann: Client) -> None:
    moment = timezone.now() - timedelta(minutes=5)
    wait = timezone.now() + timedelta(minutes=5)
    CircuitFactory.create(opened=True, down_since=moment, retry_at=wait)
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        html = seen(ann, LIST)
    assert "(5 minutes)" in text(cell(html, "since"))
    assert text(cell(html, "retry_in")) in ("in 4:59", "in 5:00")


def test_the_list_says_who_has_steered_a_circuit_and_why(ann: Client) -> None:
    CircuitFactory.create(name="mail", last_error="HTTP 500")
    circuits.get("mail").force_open(actor="ben", reason="They move house", seconds=600)
    shown = cell(seen(ann, LIST), "error")
    said = r"forced open for another (9:\d\d|10:00) by ben: They move house · HTTP 500"
    assert re.fullmatch(said, text(shown))
    circuits.get("mail").observe(actor="ben")
    assert text(cell(seen(ann, LIST), "error")) == "observe by ben · HTTP 500"


def test_a_reset_is_told_for_an_hour(ann: Client) -> None:
    CircuitFactory.create(name="mail", opened=True)
    circuits.get("mail").reset(actor="ben", reason="They are back")
    assert text(cell(seen(ann, LIST), "error")) == "reset by ben: They are back"
    earlier = timezone.now() - timedelta(hours=1, seconds=1)
    Circuit.objects.update(state_changed_at=earlier)
    Transition.objects.update(at=earlier)
    assert cell(seen(ann, LIST), "error") == "—"


def test_who_set_a_mode_is_told_however_often_the_circuit_has_opened_since(ann: Client) -> None:
    CircuitFactory.create(name="mail")
    circuits.get("mail").observe(actor="ben", reason="a trial")
    (observed,) = Transition.objects.all()
    for number in range(1, 5):
        TransitionFactory.create(
            circuit=observed.circuit,
            generation=observed.generation + number,
            from_mode=Mode.OBSERVE,
            to_mode=Mode.OBSERVE,
        )
    assert text(cell(seen(ann, LIST), "error")) == "observe by ben: a trial"


def test_an_error_of_a_closed_circuit_is_told_for_an_hour(ann: Client) -> None:
    CircuitFactory.create(last_error="HTTP 500", last_failure_at=timezone.now())
    assert "HTTP 500" in cell(seen(ann, LIST), "error")
    earlier = timezone.now() - timedelta(hours=1, seconds=1)
    Circuit.objects.update(last_failure_at=earlier)
    assert cell(seen(ann, LIST), "error") == "—"
    Circuit.objects.update(state=State.HALF_OPEN)
    assert text(cell(seen(ann, LIST), "error")) == "HTTP 500 1 hour ago"


def test_filters_and_search(ann: Client) -> None:
    CircuitFactory.create(name="payments", opened=True, mode=Mode.OBSERVE)
    CircuitFactory.create(name="mail", probe_url="http://smtp.example/")
    html = text(seen(ann, LIST))
    assert "By state" in html
    assert "By mode" in html
    assert names(ann, state__exact="open") == ["payments"]
    assert names(ann, mode__exact="automatic") == ["mail"]
    assert names(ann, q="pay") == ["payments"]
    assert names(ann, q="smtp") == ["mail"]


@pytest.mark.parametrize("url", [LIST, HISTORY])
def test_more_rows_cost_no_more_queries(ann: Client, url: str) -> None:
    TransitionFactory.create_batch(2)
    few = count_queries(lambda: ann.get(url))
    TransitionFactory.create_batch(30)
    assert count_queries(lambda: ann.get(url)) == few


def count_queries(ask: Callable[[], object]) -> int:
    with (
        CaptureQueriesContext(connections["default"]) as site,
        CaptureQueriesContext(connections["circuits"]) as circuits,
    ):
        ask()
    assert len(circuits)
    return len(site) + len(circuits)


def test_nothing_is_left_unescaped(ann: Client) -> None:
    circuit = CircuitFactory.create(name=SCRIPT, last_error=SCRIPT, probe_url=f"http://h/{SCRIPT}")
    transition = TransitionFactory.create(circuit=circuit, detail=SCRIPT, actor=SCRIPT)
    one = reverse("admin:circuits_transition_change", args=[transition.pk])
    ann.post(operate(circuit, "force_open"), {"reason": SCRIPT})  # its message names the circuit
    asked = operate(circuit, "reset")
    for url in (LIST, page(circuit), delete(circuit), HISTORY, one, asked):
        html = seen(ann, url)
        assert "&lt;script&gt;alert(1)" in html
        assert SCRIPT not in html


def test_a_strict_content_policy_blocks_nothing(ann: Client) -> None:
    circuit = TransitionFactory.create().circuit
    for url in (LIST, page(circuit), HISTORY):
        html = seen(ann, url)
        assert "circuits/admin.css" in html
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", html)


# The colours -------------------------------------------------------------------------------------

#: Django's background colours of even and odd rows.
BACKGROUNDS = {"light": ("#ffffff", "#f8f8f8"), "dark": ("#121212", "#212121")}


@pytest.mark.parametrize("theme", BACKGROUNDS)
def test_the_colours_can_be_read(theme: str) -> None:
    css = Path(str(finders.find("circuits/admin.css"))).read_text()
    block = re.search(rf'html\[data-theme="{theme}"\][^{{]*{{(.*?)}}', css, re.DOTALL)
    assert block
    colours = dict(re.findall(r"--circuits-([\w-]+): (#\w+);", block[1]))
    for state in ("open", "half-open"):
        assert contrast(colours[state], colours["on-colour"]) >= 4.5
        assert all(contrast(colours[state], ground) >= 3 for ground in BACKGROUNDS[theme])
    assert all(contrast(colours["closed"], ground) >= 4.5 for ground in BACKGROUNDS[theme])


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG defines it."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# A circuit's page --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("circuit", "sentence"),
    [
        ({}, "Calls pass."),
        ({"opened": True}, "Calls are refused. A trial call is let through in "),
        ({"expired": True}, "the next call is let through to try."),
        (
            {"state": State.HALF_OPEN, "success_threshold": 3, "trial_successes": 1},
            "Successes so far: 1 of 3.",
        ),
        (FORCED_OPEN, "All calls are refused until somebody puts it back to automatic."),
        ({"mode": Mode.FORCED_CLOSED}, "All calls pass, failing or not, until somebody"),
        ({"opened": True, "mode": Mode.OBSERVE}, "No call is refused"),
    ],
)
def test_the_page_says_what_becomes_of_calls(
    ann: Client, circuit: dict[str, Any], sentence: str
) -> None:
    assert sentence in text(seen(ann, page(CircuitFactory.create(**circuit))))


def test_the_page_says_where_it_stands_and_what_it_saw(ann: Client) -> None:
    an_hour_ago = timezone.now() - timedelta(hours=1, seconds=1)
    circuit = CircuitFactory.create(
        opened=True,
        threshold=6,
        success_threshold=2,
        opened_at=an_hour_ago,
        last_failure_at=an_hour_ago,
        last_error="ReadTimeout: gone",
        total_refusals=42,
    )
    html = seen(ann, page(circuit))
    moment = f"{an_hour_ago:%Y-%m-%d %H:%M:%S} UTC (1 hour ago)"
    assert readonly(html, "state_badge") == "✕ open"
    assert readonly(html, "mode_words") == "automatic"
    assert readonly(html, "failures") == "5 / 6"
    assert readonly(html, "trials") == "0 / 2"
    assert readonly(html, "opened_at") == moment
    assert readonly(html, "last_failure_at") == moment
    assert readonly(html, "last_success_at") == "—"
    assert readonly(html, "last_error") == "ReadTimeout: gone"
    assert readonly(html, "total_refusals") == "42"
    assert f"Last error ReadTimeout: gone {moment}" in text(html)


def test_the_page_says_who_had_a_hand_in_it_last(ann: Client) -> None:
    circuit = CircuitFactory.create(**FORCED_OPEN)
    transition = TransitionFactory.create(circuit=circuit, actor="bob", detail="deploy")
    said_so = f"Last changed by bob at {transition.at:%Y-%m-%d %H:%M:%S} UTC : deploy"
    assert said_so in text(seen(ann, page(circuit)))
    TransitionFactory.create(circuit=circuit)
    assert "Last changed by" not in seen(ann, page(circuit))


def test_the_last_transitions_are_on_the_page_newest_first(ann: Client) -> None:
    circuit = CircuitFactory.create()
    for number in range(25):
        TransitionFactory.create(
            circuit=circuit, detail=f"detail {number}.", actor="bob", reason=Reason.TRIAL_FAILED
        )
    TransitionFactory.create(detail="of another circuit")
    html = seen(ann, page(circuit)).partition("Last changes")[2]
    assert re.findall(r"detail \d+", html) == [f"detail {number}" for number in range(24, 4, -1)]
    assert "closed → open trial failed bob detail 24." in text(html)
    assert "of another circuit" not in html
    (link,) = re.findall(rf'href="({HISTORY}\?[^"]*)"', html)
    everything = seen(ann, link)
    assert len(set(re.findall(r"detail \d+", everything))) == 25
    assert "of another circuit" not in everything


def test_failures_in_a_row_are_told_where_they_open_the_circuit(ann: Client) -> None:
    in_a_row = seen(ann, page(CircuitFactory.create(failure_count=2)))
    assert text(readonly(in_a_row, "failures")) == "2 / 5"
    assert "field-failures" not in seen(ann, page(CircuitFactory.create(strategy="rate")))


def test_the_chart_of_states_is_blank_before_the_circuit_was_made(ann: Client) -> None:
    circuit = CircuitFactory.create()
    Circuit.objects.update(created_at=timezone.now() - timedelta(hours=2, seconds=9))
    assert "closed: 2 hours" in text(seen(ann, page(circuit)))
    TransitionFactory.create(circuit=circuit, generation=1, at=timezone.now() - timedelta(hours=3))
    Circuit.objects.update(state=State.HALF_OPEN, generation=1)
    html = text(seen(ann, page(circuit)))
    assert re.search(r"half open: (2 hours, 59 minutes|3 hours)", html), "told all the same"


def test_a_mode_that_lasts_can_be_made_to_last_longer(ann: Client) -> None:
    html = seen(ann, page(CircuitFactory.create(mode=Mode.OBSERVE)))
    assert "It is so already: change how long it lasts." in html


# Editing -----------------------------------------------------------------------------------------


def test_a_policy_is_edited(ann: Client) -> None:
    circuit = CircuitFactory.create(name="payments")
    new = {"threshold": 7, "delay": 2.5, "probe_url": "http://h/health", "timeout": 3}
    response = ann.post(page(circuit), FORM | new)
    assert response.status_code == 302
    circuit.refresh_from_db()
    assert {name: getattr(circuit, name) for name in POLICY} == POLICY | new


def test_a_form_that_was_open_for_a_while_writes_back_no_stale_state(ann: Client) -> None:
    circuit = CircuitFactory.create(name="payments", threshold=2)
    ann.get(page(circuit))
    with traffic_at_the_save():
        response = ann.post(page(circuit), FORM | {"threshold": 9})
    assert response.status_code == 302
    circuit.refresh_from_db()
    assert (circuit.state, circuit.generation, circuit.failure_count) == ("open", 1, 2)
    assert circuit.last_error
    assert circuit.threshold == 9


@contextmanager
def traffic_at_the_save() -> Iterator[None]:
    """Open the circuit after the form has read its row and before the form writes it."""

    def open_it(instance: Circuit, **kwargs: object) -> None:
        pre_save.disconnect(open_it, sender=Circuit)
        fail(instance.name, times=2)

    pre_save.connect(open_it, sender=Circuit)
    yield
    assert not pre_save.disconnect(open_it, sender=Circuit)  # it came to that


BAD = [
    ("threshold", "0"),
    ("threshold", "1.5"),
    ("delay", "-1"),
    ("delay", "nan"),
    ("jitter", "101"),
    ("failure_rate", "0"),
    ("failure_rate", "nan"),
    ("timeout", "0"),
    ("probe_url", "http://ann:secret@h/"),
    ("probe_url", "http://h/?key=secret"),
    ("probe_url", "ftp://h/"),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_bad_policy_is_an_error_at_its_field(ann: Client, field: str, value: str) -> None:
    circuit = CircuitFactory.create()
    before = rows()
    response = ann.post(page(circuit), FORM | {field: value})
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [field]
    assert rows() == before


def test_what_is_not_policy_cannot_be_posted(ann: Client) -> None:
    circuit = CircuitFactory.create(name="payments", opened=True, last_error="x")
    forged = {"name": "other", "state": "closed", "mode": "observe", "last_error": ""}
    assert ann.post(page(circuit), FORM | forged).status_code == 302
    circuit.refresh_from_db()
    assert (circuit.name, circuit.state, circuit.mode) == ("payments", "open", "automatic")
    assert circuit.last_error == "x"


def test_a_circuit_is_made_with_the_defaults_of_the_site(ann: Client, settings: Settings) -> None:
    settings.CIRCUITS = settings.CIRCUITS | {"DEFAULTS": {"threshold": 8}}
    html = seen(ann, ADD)
    assert re.search(r'name="threshold" value="8"', html)
    assert "Where it stands" not in html
    assert ann.post(ADD, FORM | {"name": "payments"}).status_code == 302
    circuit = Circuit.objects.get()
    assert (circuit.name, circuit.state, circuit.mode) == ("payments", "closed", "automatic")


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 101, "taken"])
def test_a_bad_name_is_an_error(ann: Client, name: str) -> None:
    CircuitFactory.create(name="taken")
    response = ann.post(ADD, FORM | {"name": name})
    assert list(response.context["adminform"].form.errors) == ["name"]
    assert Circuit.objects.count() == 1


def test_there_may_not_be_too_many(ann: Client, settings: Settings) -> None:
    settings.CIRCUITS = settings.CIRCUITS | {"MAX_CIRCUITS": 1}
    circuit = CircuitFactory.create()
    response = ann.post(ADD, FORM | {"name": "one more"})
    assert "CIRCUITS[&#x27;MAX_CIRCUITS&#x27;]" in response.content.decode()
    assert Circuit.objects.count() == conf.get().max_circuits
    assert ann.post(page(circuit), FORM).status_code == 302  # those there are can be edited


# Who may what ------------------------------------------------------------------------------------

VIEW = ("view_circuit",)
OPERATE = ("view_circuit", "operate_circuit")
EVERYTHING = (*OPERATE, "add_circuit", "change_circuit", "delete_circuit")


def answers(client: Client, circuit: Circuit) -> dict[str, int]:
    """Try every page and operation, and return the statuses."""
    return {
        "list": client.get(LIST).status_code,
        "page": client.get(page(circuit)).status_code,
        "history": client.get(HISTORY).status_code,
        "add": client.get(ADD).status_code,
        "operate": client.post(operate(circuit, "force_open")).status_code,
        "save": client.post(page(circuit), FORM | {"threshold": 9}).status_code,
        "delete": client.get(delete(circuit)).status_code,
    }


TABLE = {
    (): dict.fromkeys(["list", "page", "history", "add", "operate", "save", "delete"], 403),
    VIEW: {"list": 200, "page": 200, "history": 200},
    ("operate_circuit",): {},
    ("view_transition",): {"history": 200},
    OPERATE: {"list": 200, "page": 200, "history": 200, "operate": 302},
    ("change_circuit",): {"list": 200, "page": 200, "save": 302},
    ("add_circuit",): {"list": 403, "add": 200},
    EVERYTHING: dict.fromkeys(["list", "page", "history", "add", "delete"], 200)
    | {"operate": 302, "save": 302},
}


@pytest.mark.parametrize("permissions", TABLE)
def test_who_may_what(permissions: tuple[str, ...]) -> None:
    circuit = CircuitFactory.create()
    allowed = TABLE[()] | TABLE[permissions]
    assert answers(signed_in(*permissions), circuit) == allowed
    circuit.refresh_from_db()
    assert (circuit.mode == Mode.FORCED_OPEN) == (allowed["operate"] == 302)
    assert (circuit.threshold == 9) == (allowed["save"] == 302)


def test_a_superuser_may_everything(ann: Client) -> None:
    assert answers(ann, CircuitFactory.create()) == TABLE[()] | TABLE[EVERYTHING]


def test_who_is_not_signed_in_is_asked_to() -> None:
    circuit = CircuitFactory.create()
    before = rows()
    assert set(answers(Client(), circuit).values()) == {302}
    response = Client().get(page(circuit))
    assert response.headers["Location"].startswith("/admin/login/")
    assert rows() == before


def test_who_may_not_operate_is_offered_nothing() -> None:
    circuit = CircuitFactory.create()
    client = signed_in("view_circuit", "change_circuit")
    assert "/operate/" not in seen(client, page(circuit))
    assert 'value="force_open"' not in seen(client, LIST)
    client.post(LIST, {"action": "force_open", "_selected_action": circuit.pk})
    client.post(operate_many("force_open"), {"keys": circuit.pk})
    circuit.refresh_from_db()
    assert circuit.mode == Mode.AUTOMATIC


def test_who_may_operate_is_offered_the_operations_but_no_form() -> None:
    circuit = CircuitFactory.create()
    client = signed_in(*OPERATE)
    html = seen(client, page(circuit))
    assert len(re.findall(r'class="button[^"]*" href="[^"]*/operate/', html)) == 3
    assert 'name="threshold"' not in html
    for key in ("try_now", "probe", "reset", "force_open", "force_closed", "observe", "automatic"):
        assert f'<option value="{key}">' in seen(client, LIST)


def test_looking_changes_nothing(ann: Client) -> None:
    circuit = TransitionFactory.create(circuit=CircuitFactory.create(expired=True)).circuit
    before = rows()
    asked = {"action": "reset", "_selected_action": str(circuit.pk), "operation": "reset"}
    confirmation = operate(circuit, "reset")
    for url in (LIST, page(circuit), ADD, delete(circuit), HISTORY, confirmation):
        assert ann.get(url).status_code == 200
        assert ann.get(url, asked, follow=True).status_code == 200
    assert rows() == before


# The history -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transition", "change"),
    [
        ({}, "closed → open"),
        ({"from_state": "open", "to_mode": "observe"}, "automatic → observe"),
        ({"to_mode": "forced_open"}, "closed → open, automatic → forced open"),
    ],
)
def test_a_transition_says_what_changed(
    ann: Client, transition: dict[str, str], change: str
) -> None:
    made = TransitionFactory.create(
        circuit__name="payments", reason=Reason.MODE, actor="bob", detail="deploy", **transition
    )
    html = seen(ann, HISTORY)
    assert cell(html, "change") == change
    assert f"{made.at:%Y-%m-%d %H:%M:%S} UTC payments {change} mode changed deploy bob" in text(
        html
    )
    assert f'href="{page(made.circuit)}"' in html


def test_the_history_is_filtered_and_searched(ann: Client) -> None:
    TransitionFactory.create(circuit__name="payments", actor="bob")
    TransitionFactory.create(circuit__name="mail", to_state="half_open", reason="delay_passed")

    def found(**query: str) -> list[str]:
        result = ann.get(HISTORY, query).context["cl"].result_list
        return [transition.circuit.name for transition in result]

    html = text(seen(ann, HISTORY))
    assert "By to state" in html
    assert "By reason" in html
    assert found() == ["mail", "payments"]
    assert found(to_state__exact="open") == ["payments"]
    assert found(reason__exact="delay_passed") == ["mail"]
    assert found(q="mai") == ["mail"]
    assert found(q="bob") == ["payments"]


def test_nobody_changes_the_history(ann: Client) -> None:
    transition = TransitionFactory.create()
    one = reverse("admin:circuits_transition_change", args=[transition.pk])
    before = rows()
    assert ann.get(one).status_code == 200
    assert ann.post(one, {"detail": "never happened"}).status_code == 403
    assert ann.post(reverse("admin:circuits_transition_add")).status_code == 403
    gone = reverse("admin:circuits_transition_delete", args=[transition.pk])
    assert ann.post(gone, {"post": "yes"}).status_code == 403
    assert "delete_selected" not in seen(ann, HISTORY)
    assert rows() == before


def delete_in_list(client: Client, circuit: Circuit) -> Any:
    chosen = {"action": "delete_selected", "_selected_action": circuit.pk, "post": "yes"}
    return client.post(LIST, chosen)


def delete_on_page(client: Client, circuit: Circuit) -> Any:
    return client.post(delete(circuit), {"post": "yes"})


@pytest.mark.parametrize("remove", [delete_in_list, delete_on_page])
def test_the_history_goes_with_its_circuit(remove: Callable[[Client, Circuit], Any]) -> None:
    circuit = TransitionFactory.create().circuit
    kept = TransitionFactory.create()
    response = remove(signed_in("view_circuit", "delete_circuit"), circuit)
    assert response.status_code == 302
    assert list(Transition.objects.all()) == [kept]
    assert list(Circuit.objects.all()) == [kept.circuit]


def test_a_name_from_before_such_were_refused_does_not_pass_for_another(ann: Client) -> None:
    circuit = CircuitFactory.create(name="p\u0430yments")
    TransitionFactory.create(circuit=circuit)
    live = reverse("admin:circuits_circuit_live")
    for url in (LIST, live, page(circuit), operate(circuit, "reset"), HISTORY):
        text = seen(ann, url)
        assert "pU+0430yments" in text, url
        assert "p\u0430yments" not in text, url
        assert "p\\u0430yments" not in text, url
    chosen = ann.post(LIST, {"action": "reset", "_selected_action": circuit.pk})
    assert "pU+0430yments" in chosen.content.decode()
    assert ann.post(page(circuit), FORM | {"threshold": 7}).status_code == 302
    circuit.refresh_from_db()
    assert (circuit.name, circuit.threshold) == ("p\u0430yments", 7)
