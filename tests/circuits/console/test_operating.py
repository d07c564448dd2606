"""Steering circuits in the admin: the confirmation, the operation and the messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import WARNING
from django.db import OperationalError, connections
from django.test import Client
from django.utils import timezone

import circuits
from circuits.console.paging import BoundedPaginator
from circuits.console.results import steer
from circuits.core.status import Mode, State
from circuits.models import Circuit, Transition
from circuits.redaction import redact
from circuits.steering.operations import OPERATIONS
from circuits.steering.probe import ProbeResult, probe
from circuits.storage.database import DatabaseStore
from mockapi.hits import hits
from tests.concurrency import in_threads
from tests.factories import CircuitFactory
from tests.staff import (
    FORCED_OPEN,
    LIST,
    operate,
    operate_many,
    page,
    rows,
    said,
    seen,
    signed_in,
    text,
)

pytestmark = pytest.mark.usefixtures("committed", "faults_allowed")

HOSTILE = "a/b \"c\" 'd' <script>alert(1)</script>?x=1#y & \\"


# What is asked -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "before", "sentence"),
    [
        ("probe", {}, "payments has no probe URL, so there is nothing to call."),
        ("probe", {"probe_url": "http://h/"}, "One call will be made through payments, to http://"),
        ("try_now", {"opened": True}, "The next call to payments will be let through to try"),
        (
            "try_now",
            {"opened": True, "probe_url": "http://h/"},
            "One call will be made through payments at once, to http://h/.",
        ),
        ("try_now", FORCED_OPEN, "payments stays forced open; put it back to automatic first."),
        ("try_now", {}, "payments: not open, nothing to wait for."),
        ("reset", {"opened": True}, "Calls to payments will pass again at once: the state becomes"),
        ("reset", FORCED_OPEN, "payments stays forced open; put it back to automatic first."),
        ("force_open", {}, "All calls to payments will be refused, whatever the remote does."),
        ("force_closed", {}, "All calls to payments will pass, however many fail"),
        ("observe", {}, "No call to payments will be refused."),
        ("automatic", FORCED_OPEN, "The policy alone will decide again which calls to payments"),
    ],
)
def test_before_it_is_done_it_is_said_what_will_happen(
    ann: Client, key: str, before: dict[str, Any], sentence: str
) -> None:
    circuit = CircuitFactory.create(name="payments", **before)
    kept = rows()
    words = text(seen(ann, operate(circuit, key)))
    assert sentence in words
    assert f"{OPERATIONS[key].label}: payments" in words
    assert rows() == kept


@pytest.mark.parametrize("key", OPERATIONS)
def test_how_long_is_asked_of_what_may_end(ann: Client, key: str) -> None:
    circuit = CircuitFactory.create(probe_url="http://h/")
    html = seen(ann, operate(circuit, key))
    may_end = key in ("force_open", "force_closed", "observe")
    assert ("This lasts until somebody sets it back, or for the time chosen" in html) == may_end
    times = re.findall(r'<option value="(\d+)">([^<]*)', html)
    if key == "inject":
        assert (times[0], times[-1]) == (("60", "1 minute"), ("3600", "1 hour"))
        return
    assert bool(times) == may_end
    if may_end:
        assert times[0] == ("300", "5 minutes")
        assert times[-1] == ("86400", "1 day")


def test_the_page_in_between_says_how_it_stands(ann: Client) -> None:
    circuit = CircuitFactory.create(**FORCED_OPEN, mode_until=timezone.now() + timedelta(hours=3))
    words = text(seen(ann, operate(circuit, "automatic")))
    assert re.search(
        r"Now: ✕ open forced open Down since .* \(0 seconds\), forced open, 0 refused", words
    )
    assert re.search(r"All calls are refused until .*\d\d:\d\d , for another 2 hours, 59", words)


@pytest.mark.parametrize("key", OPERATIONS)
def test_the_keyboard_begins_at_the_first_thing_to_do(ann: Client, key: str) -> None:
    html = seen(ann, operate(CircuitFactory.create(), key))
    (focused,) = re.findall(r"<input[^>]*\bautofocus[^>]*>", html)
    assert ('type="submit"' if key == "probe" else 'name="reason"') in focused


# What is done ------------------------------------------------------------------------------------

Press = Callable[..., Any]


def press_in_list(client: Client, key: str, *circuits: Circuit, **asked: Any) -> Any:
    """Choose circuits and an action in the list, and confirm it."""
    chosen = [circuit.pk for circuit in circuits]
    before = rows()
    question = client.post(LIST, {"action": key, "_selected_action": chosen})
    assert question.status_code == 200
    assert rows() == before
    data = {"keys": question.context["keys"], **asked}
    return client.post(question.context["action"], data)


def press_on_page(client: Client, key: str, circuit: Circuit, **asked: Any) -> Any:
    """Press a button on the circuit's page, and confirm the operation."""
    return client.post(operate(circuit, key), {"mode": circuit.mode, **asked})


@pytest.fixture(params=[press_in_list, press_on_page])
def press(request: pytest.FixtureRequest) -> Press:
    """Return a function for each of the two places from which a circuit is steered."""
    where: Press = request.param
    return where


@pytest.mark.parametrize(
    ("key", "before", "after", "message"),
    [
        (
            "try_now",
            {"opened": True},
            ("half_open", "automatic"),
            "payments: the next call will try.",
        ),
        ("reset", {"opened": True}, ("closed", "automatic"), "payments: reset."),
        ("force_open", {}, ("open", "forced_open"), "payments: forced open."),
        ("force_closed", {"opened": True}, ("closed", "forced_closed"), "payments: forced closed."),
        ("observe", {}, ("closed", "observe"), "payments: observing, no call is refused."),
        ("automatic", FORCED_OPEN, ("open", "automatic"), "payments: automatic."),
    ],
)
def test_an_operation(
    ann: Client,
    press: Press,
    key: str,
    before: dict[str, Any],
    after: tuple[str, str],
    message: str,
) -> None:
    circuit = CircuitFactory.create(name="payments", **before)
    response = press(ann, key, circuit, reason="deploy")
    assert response.status_code == 302
    assert said(response) == [("success", message)]
    circuit.refresh_from_db()
    assert (circuit.state, circuit.mode, circuit.mode_until) == (*after, None)
    transition = Transition.objects.get()
    assert (transition.actor, transition.detail, transition.until) == ("ann", "deploy", None)
    assert_logged(circuit, f"{message} Reason: deploy")


@pytest.mark.parametrize("key", ["force_open", "force_closed", "observe"])
def test_a_mode_for_a_while(ann: Client, press: Press, key: str) -> None:
    circuit = CircuitFactory.create(name="payments")
    before = timezone.now()
    ((level, message),) = said(press(ann, key, circuit, seconds="1800"))
    assert level == "success"
    assert message.endswith(" It goes back to automatic in 30 minutes.")
    circuit.refresh_from_db()
    assert circuit.mode_until
    assert timedelta(minutes=29) < circuit.mode_until - before < timedelta(minutes=31)
    assert Transition.objects.get().until == circuit.mode_until
    assert_logged(circuit, message)


def test_the_end_of_a_mode_can_be_changed(ann: Client, press: Press) -> None:
    circuit = CircuitFactory.create(**FORCED_OPEN)
    press(ann, "force_open", circuit, seconds="300")
    circuit.refresh_from_db()
    assert circuit.mode_until is not None
    press(ann, "force_open", circuit)
    circuit.refresh_from_db()
    assert circuit.mode_until is None


@pytest.mark.parametrize(
    ("key", "before", "level", "message"),
    [
        ("reset", {}, "info", "payments: already closed, nothing to reset."),
        (
            "reset",
            FORCED_OPEN,
            "warning",
            "payments stays forced open; put it back to automatic first.",
        ),
        ("force_open", FORCED_OPEN, "info", "payments: already forced open."),
        (
            "force_closed",
            {"mode": Mode.FORCED_CLOSED},
            "info",
            "payments: already forced closed.",
        ),
        ("observe", {"mode": Mode.OBSERVE}, "info", "payments: already observing."),
        ("automatic", {}, "info", "payments: already automatic."),
    ],
)
def test_an_operation_that_changes_nothing(
    ann: Client, press: Press, key: str, before: dict[str, Any], level: str, message: str
) -> None:
    circuit = CircuitFactory.create(name="payments", **before)
    assert said(press(ann, key, circuit)) == [(level, message)]
    assert not Transition.objects.exists()
    assert_logged(circuit, message)


def assert_logged(circuit: Circuit, message: str) -> None:
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (str(circuit.pk), message)
    assert (entry.user.get_username(), entry.is_change()) == ("ann", True)


def test_the_page_is_where_one_comes_back_to(ann: Client) -> None:
    circuit = CircuitFactory.create()
    response = press_on_page(ann, "force_open", circuit)
    assert response.headers["Location"] == page(circuit)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"seconds": "7"}, "Choose one of the times."),
        ({"seconds": "x"}, "Choose one of the times."),
        ({"reason": "x" * 501}, "Ensure this value has at most 500 characters (it has 501)."),
        ({"reason": "\0"}, "Null characters are not allowed."),
    ],
)
def test_what_cannot_be_kept_is_asked_again(
    ann: Client, asked: dict[str, str], sentence: str
) -> None:
    circuit = CircuitFactory.create()
    before = rows()
    many = {"keys": str(circuit.pk), **asked}
    for response in (
        press_on_page(ann, "force_open", circuit, **asked),
        ann.post(operate_many("force_open"), many),
    ):
        assert response.status_code == 200
        assert sentence in text(response.content.decode())
    assert rows() == before


@pytest.mark.parametrize(
    ("endpoint", "before", "level", "message"),
    [
        ("success", {}, "success", r"Probe of payments passed: HTTP 200 in \d+ ms\."),
        ("faulty", {}, "error", r"Probe of payments failed: HTTP 500 from \S+/faulty"),
        ("success", {"opened": True}, "warning", r"Probe of payments refused: Retry after .* secs"),
        ("", {}, "warning", r"payments has no probe URL; give one, or set one on its page .*"),
    ],
)
def test_a_probe(
    ann: Client,
    press: Press,
    remote: str,
    endpoint: str,
    before: dict[str, Any],
    level: str,
    message: str,
) -> None:
    url = f"{remote}/{endpoint}" if endpoint else ""
    circuit = CircuitFactory.create(name="payments", probe_url=url, **before)
    response = press(ann, "probe", circuit)
    assert response.status_code == 302
    ((tag, sentence),) = said(response)
    assert tag == level
    assert re.fullmatch(message, sentence)
    assert_logged(circuit, sentence)


def test_no_transaction_of_the_site_is_open_while_a_probe_waits(
    ann: Client, press: Press, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_transaction: list[bool] = []

    def watched(name: str, url: str | None) -> ProbeResult:
        in_transaction.extend(connections[alias].in_atomic_block for alias in connections)
        return probe(name, url)

    monkeypatch.setattr("circuits.steering.handle.probe", watched)
    press(ann, "probe", CircuitFactory.create(probe_url=f"{remote}/success"))
    assert in_transaction == [False, False]


def test_a_database_that_refuses_is_a_message(
    ann: Client, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> bool:
        raise OperationalError("database is locked")

    monkeypatch.setattr(DatabaseStore, "steer", refuse)
    response = press(ann, "reset", CircuitFactory.create(name="payments"))
    ((tag, sentence),) = said(response)
    assert (response.status_code, tag) == (302, "error")
    assert sentence.startswith("payments: nothing was done")
    assert "database is locked" in sentence


def test_an_unknown_operation_or_circuit_is_not_found(ann: Client) -> None:
    circuit = CircuitFactory.create()
    before = rows()
    assert ann.get(operate(circuit, "explode")).status_code == 404
    assert ann.post(operate_many("explode"), {"keys": circuit.pk}).status_code == 404
    for key in (circuit.pk + 1, "x", 10**30):
        for ask in (ann.get, ann.post):
            response = ask(f"/admin/circuits/circuit/{key}/operate/reset/")
            assert response.status_code == 404
            words = text(response.content.decode())
            assert "This circuit is no longer there; nothing was done." in words
    assert rows() == before


def test_other_sites_cannot_confirm(press: Press) -> None:
    client = signed_in("view_circuit", "operate_circuit", enforce_csrf_checks=True)
    circuit = CircuitFactory.create()
    before = rows()
    for url in (operate(circuit, "force_open"), operate_many("force_open"), LIST):
        data = {"keys": circuit.pk, "action": "force_open", "_selected_action": circuit.pk}
        assert client.post(url, data).status_code == 403
    assert rows() == before


def test_a_mode_that_somebody_else_has_set_meanwhile_is_told_before_it_is_lost(ann: Client) -> None:
    circuit = CircuitFactory.create()
    Circuit.objects.update(mode=Mode.OBSERVE)
    before = rows()
    response = press_on_page(ann, "force_closed", circuit, reason="mine")
    words = "Meanwhile the mode has changed from automatic to observe. Confirm once more"
    assert words in text(response.content.decode())
    assert 'value="mine"' in response.content.decode()
    assert rows() == before
    data = dict(re.findall(r'name="(mode|reason)" value="(\w+)"', response.content.decode()))
    assert ann.post(operate(circuit, "force_closed"), data).status_code == 302
    circuit.refresh_from_db()
    assert circuit.mode == Mode.FORCED_CLOSED


def test_of_all_who_confirm_at_once_on_the_same_mode_one_is_right(ann: Client) -> None:
    """The others must confirm again, since they have not seen the mode that they would change."""
    keys = ("force_open", "force_closed", "observe", "force_open", "force_closed", "observe")
    for _round in range(3):
        circuit = CircuitFactory.create()
        statuses = at_once(ann, [operate(circuit, key) for key in keys], {"mode": "automatic"})
        assert sorted(statuses) == [200] * 5 + [302]
        assert circuit.transitions.count() == 1


def test_of_all_who_confirm_many_at_once_one_is_right(ann: Client) -> None:
    chosen = CircuitFactory.create_batch(3)
    keys = ",".join(str(each.pk) for each in chosen)
    modes = ",".join(["automatic"] * 3)
    urls = [operate_many(key) for key in ("force_open", "force_closed", "observe")] * 2
    at_once(ann, urls, {"keys": keys, "modes": modes})
    assert [each.transitions.count() for each in chosen] == [1, 1, 1]


def at_once(client: Client, urls: list[str], data: dict[str, str]) -> list[int]:
    """Post a form to all URLs at the same time, each from a browser of its own."""

    def post(index: int) -> int:
        own = Client()
        own.cookies = client.cookies
        return own.post(urls[index], data).status_code

    return in_threads(len(urls), post)


def test_what_somebody_else_has_changed_among_many_is_named(ann: Client) -> None:
    kept, moved = CircuitFactory.create(name="mail"), CircuitFactory.create(name="payments")
    question = ask_in_list(ann, "force_open", kept, moved)
    form = {name: question.context[name] for name in ("keys", "modes")}
    circuits.get("payments").observe()
    response = ann.post(question.context["action"], form)
    assert said(response) == [
        ("warning", "Not done for payments: the mode has changed meanwhile."),
        ("success", "Force open: 1 done."),
    ]
    modes = dict(Circuit.objects.values_list("name", "mode"))
    assert modes == {"mail": Mode.FORCED_OPEN, "payments": Mode.OBSERVE}


@pytest.mark.parametrize("seen_in", ["", "nonsense", None])
def test_a_form_that_says_no_mode_is_done_all_the_same(ann: Client, seen_in: str | None) -> None:
    circuit = CircuitFactory.create(mode=Mode.OBSERVE)
    data = {} if seen_in is None else {"mode": seen_in}
    assert ann.post(operate(circuit, "force_open"), data).status_code == 302
    many = {"keys": str(circuit.pk)} | ({} if seen_in is None else {"modes": seen_in})
    assert ann.post(operate_many("force_closed"), many).status_code == 302
    circuit.refresh_from_db()
    assert circuit.mode == Mode.FORCED_CLOSED


def test_a_name_may_hold_anything_that_can_be_typed(ann: Client) -> None:
    circuit = CircuitFactory.create(name=HOSTILE)
    html = seen(ann, operate(circuit, "force_open"))
    assert f"All calls to {HOSTILE} will be refused" in text(html)
    assert "<script>alert" not in html
    response = press_on_page(ann, "force_open", circuit, reason=HOSTILE)
    assert said(response) == [("success", f"{HOSTILE}: forced open.")]
    assert_logged(circuit, f"{HOSTILE}: forced open. Reason: {redact(HOSTILE)}")
    assert HOSTILE in text(seen(ann, page(circuit)))


# Many at once ------------------------------------------------------------------------------------


def ask_in_list(client: Client, key: str, *circuits: Circuit, **more: Any) -> Any:
    chosen = [circuit.pk for circuit in circuits]
    return client.post(LIST, {"action": key, "_selected_action": chosen, **more})


def test_the_circuits_of_a_selection_are_named_up_to_a_screenful(ann: Client) -> None:
    chosen = [CircuitFactory.create(name=f"circuit-{number:02}") for number in range(53)]
    words = text(ask_in_list(ann, "force_open", *chosen).content.decode())
    assert "Force open: 53 circuits" in words
    assert "All calls to these 53 circuits will be refused" in words
    assert words.count("✓ closed circuit-") == 50
    assert "And 3 more." in words
    words = text(ask_in_list(ann, "force_open", *chosen[:2]).content.decode())
    assert words.count("✓ closed circuit-") == 2
    assert "more." not in words


def test_what_is_confirmed_is_what_was_shown(ann: Client) -> None:
    """This holds also if all matching circuits were chosen, and others match by now."""
    shown = CircuitFactory.create_batch(2, opened=True)
    question = ask_in_list(
        ann, "force_closed", shown[0], select_across=1, index=0, state__exact="open"
    )
    late = CircuitFactory.create(opened=True)
    response = ann.post(question.context["action"], {"keys": question.context["keys"]})
    assert response.status_code == 302
    forced = Circuit.objects.filter(mode=Mode.FORCED_CLOSED)
    assert set(forced) == set(shown)
    assert late not in forced


def test_the_list_is_where_one_comes_back_to_with_its_filters(ann: Client) -> None:
    circuit = CircuitFactory.create(opened=True)
    filtered = f"{LIST}?state__exact=open&q=circuit"
    question = ann.post(filtered, {"action": "reset", "_selected_action": circuit.pk})
    assert question.context["cancel"] == filtered
    response = ann.post(question.context["action"], {"keys": question.context["keys"]})
    assert response.headers["Location"] == filtered


def test_more_than_a_form_has_fields_can_be_chosen(ann: Client) -> None:
    Circuit.objects.bulk_create([Circuit(name=f"c{number}") for number in range(1_200)])
    first = Circuit.objects.first()
    assert first
    question = ask_in_list(ann, "automatic", first, select_across=1, index=0)
    assert "Back to automatic: 1200 circuits" in text(question.content.decode())
    assert len(question.context["keys"].split(",")) == 1_200


def test_no_more_are_done_than_a_list_has(ann: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedPaginator, "limit", 3)
    keys = ",".join(str(circuit.pk) for circuit in CircuitFactory.create_batch(5))
    ann.post(operate_many("force_open"), {"keys": keys})
    assert Circuit.objects.filter(mode=Mode.FORCED_OPEN).count() == 3


def test_no_more_are_asked_about_than_are_done(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = CircuitFactory.create_batch(5)[0]
    monkeypatch.setattr(BoundedPaginator, "limit", 3)
    question = ask_in_list(ann, "force_open", first, select_across=1, index=0)
    assert len(question.context["keys"].split(",")) == 3
    assert "Force open: 3 circuits" in text(question.content.decode())


def test_what_did_not_work_is_named_by_reason_and_the_others_are_counted(
    ann: Client, remote: str
) -> None:
    well = [CircuitFactory.create(probe_url=f"{remote}/success") for _ in range(11)]
    failed = [
        CircuitFactory.create(name=f"failed {number:02}", probe_url=f"{remote}/faulty")
        for number in range(25)
    ]
    refused = [
        CircuitFactory.create(name=name, probe_url=f"{remote}/success", opened=True)
        for name in ("x", "y")
    ]
    some = ", ".join(f"failed {number:02}" for number in range(20))
    assert said(press_in_list(ann, "probe", *well, *failed, *refused)) == [
        ("error", f"Not done for {some} and 5 more: HTTP 500 from {remote}/faulty."),
        ("warning", "Not done for x, y: refused, its circuit is open."),
        ("success", "Probe now: 11 done."),
    ]
    assert LogEntry.objects.count() == 38


def test_a_reset_of_what_is_forced_open_did_not_work(ann: Client) -> None:
    forced = CircuitFactory.create(name="forced", **FORCED_OPEN)
    closed, opened = CircuitFactory.create(), CircuitFactory.create(opened=True)
    assert said(press_in_list(ann, "reset", forced, closed, opened)) == [
        ("warning", "Not done for forced: forced open; put it back to automatic first."),
        ("success", "Reset: 1 done, 1 as before."),
    ]


def test_no_more_reasons_are_told_than_can_be_read(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = count()

    def refuse(*args: object) -> bool:
        raise OperationalError(f"error {next(numbers)}")

    monkeypatch.setattr(DatabaseStore, "steer", refuse)
    chosen = [CircuitFactory.create(name=f"c{number:02}") for number in range(12)]
    messages = said(press_in_list(ann, "reset", *chosen))
    assert len(messages) == 11
    assert messages[0] == ("error", "Not done for c00: OperationalError: error 0.")
    assert messages[-1] == ("error", "Not done for other reasons, for c10, c11.")


@pytest.mark.parametrize("key", ["probe", "force_open"])
def test_many_at_once_end_in_time_and_can_be_gone_on_with(
    ann: Client, key: str, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest must be confirmed again, with the reason and the time that were given."""
    chosen = [
        CircuitFactory.create(name=name, probe_url=f"{remote}/success") for name in ("a", "b", "c")
    ]
    clock = count(step=15)  # each reading is 15 seconds later
    monkeypatch.setattr("circuits.console.operate.monotonic", lambda: float(next(clock)))
    response = press_in_list(ann, key, *chosen, reason="deploy")
    assert response.status_code == 200
    html = response.content.decode()
    assert "There was no time left for 2 circuits. Confirm once more to go on" in text(html)
    assert response.context["keys"] == f"{chosen[1].pk},{chosen[2].pk}"
    if key == "probe":
        assert hits.snapshot()["success"] == 1
    else:
        assert [each.name for each in Circuit.objects.filter(state=State.OPEN)] == ["a"]
        assert 'value="deploy"' in html


@pytest.mark.parametrize("key", OPERATIONS)
def test_one_that_goes_just_before_it_is_steered_stays_gone_and_that_is_said(key: str) -> None:
    asked: dict[str, Any] = {"delay": 1.0} if key == "inject" else {}
    said = steer("payments", key, actor="ann", **asked)
    assert (said.level, said.text) == (WARNING, "There is no circuit named payments.")
    assert not Circuit.objects.exists()


def test_those_that_are_gone_by_now_are_counted(ann: Client) -> None:
    chosen = CircuitFactory.create_batch(3)
    question = ask_in_list(ann, "force_open", *chosen)
    chosen[0].delete()
    response = ann.post(question.context["action"], {"keys": question.context["keys"]})
    assert said(response) == [
        ("warning", "1 circuit is no longer there."),
        ("success", "Force open: 2 done."),
    ]


@pytest.mark.parametrize("keys", ["", "x", "-", "9" * 40])
def test_a_selection_of_nothing_does_nothing(ann: Client, keys: str) -> None:
    CircuitFactory.create()
    before = rows()
    response = ann.post(operate_many("force_open"), {"keys": keys})
    assert said(response) == [("info", "There are no circuits to do this with; nothing was done.")]
    assert rows() == before
