"""The list of circuits as a console, and how it and a circuit's page are refreshed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib import admin
from django.db import OperationalError, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from circuits.console import display
from circuits.console.paging import BoundedPaginator
from circuits.core.status import Mode, State
from circuits.models import Circuit, Heartbeat, Minute
from circuits.reports.readings import read_circuits
from circuits.reports.words import clock
from circuits.storage.database import EXPIRY
from tests.factories import CircuitFactory, TransitionFactory
from tests.staff import LIST, seen, text

pytestmark = pytest.mark.usefixtures("committed")

LIVE = reverse("admin:circuits_circuit_live")


def live_one(circuit: Circuit) -> str:
    return reverse("admin:circuits_circuit_live_one", args=[circuit.pk])


def live_answer(client: Client, url: str = LIVE, **query: str) -> dict[str, Any]:
    """Return the answer to the request by which a page refreshes itself."""
    response = client.get(url, query)
    assert response.status_code == 200
    payload: dict[str, Any] = response.json()
    return payload


def summary(html: str) -> str:
    """Return the summary above the list."""
    found = re.search(r'<div class="circuits-summary"[^>]*>(.*?)</div>', html, re.DOTALL)
    assert found
    return found[1]


# What is wrong, at one look ----------------------------------------------------------------------


def test_the_list_begins_with_what_is_wrong(ann: Client) -> None:
    CircuitFactory.create(opened=True)
    CircuitFactory.create(opened=True, mode=Mode.FORCED_OPEN)
    CircuitFactory.create(state=State.HALF_OPEN)
    CircuitFactory.create(mode=Mode.FORCED_CLOSED)
    CircuitFactory.create(mode=Mode.OBSERVE)
    CircuitFactory.create_batch(3)
    html = summary(seen(ann, LIST))
    assert text(html).startswith("✕ 2 open ◐ 1 half open ! 2 forced ◌ 1 observed ✓ 5 closed")


def test_what_there_is_none_of_is_not_named_unless_it_is_news(ann: Client) -> None:
    CircuitFactory.create()
    html = summary(seen(ann, LIST))
    assert text(html).startswith("✕ 0 open ✓ 1 closed Beat")
    assert "circuits-badge circuits-open" not in html


def test_each_number_leads_to_those_it_counts(ann: Client) -> None:
    names = {
        "open": CircuitFactory.create(opened=True, mode=Mode.FORCED_OPEN).name,
        "half open": CircuitFactory.create(state=State.HALF_OPEN).name,
        "observed": CircuitFactory.create(mode=Mode.OBSERVE).name,
    }
    links = re.findall(r'href="(\?[^"]*)"[^>]*>(.*?)</a>', summary(seen(ann, LIST)))
    assert len(links) == 5
    for query, badge in links:
        _sign, number, *words = text(badge).split()
        response = ann.get(f"{LIST}{unescape(query)}")
        rows = response.context["cl"].result_list
        assert len(rows) == int(number)
        assert names.get(" ".join(words), rows[0].name) in [row.name for row in rows]
        assert 'aria-current="true"' in summary(response.content.decode())


def test_the_numbers_are_of_all_circuits_whatever_is_listed(ann: Client) -> None:
    CircuitFactory.create(opened=True)
    CircuitFactory.create(name="payments")
    assert "1 open" in text(summary(seen(ann, LIST, state__exact="closed")))
    assert "1 open" in text(summary(seen(ann, LIST, q="payments")))


def test_counting_ends_somewhere_with_what_is_wrong_counted_first(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedPaginator, "limit", 10)
    CircuitFactory.create_batch(9)
    CircuitFactory.create(name="z", opened=True)
    assert "Only the first" not in seen(ann, LIST)
    CircuitFactory.create_batch(5)
    html = text(summary(seen(ann, LIST)))
    assert html.startswith("✕ 1 open ✓ 10 closed Only the first 10 are counted.")


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (3.5, "Beat was last seen 3 seconds ago."),
        (300, "Beat was last seen 5 minutes ago: the state shown may lag."),
        (None, "Beat has never been seen"),
    ],
)
def test_the_list_says_whether_beat_runs(ann: Client, ago: float | None, words: str) -> None:
    if ago is not None:
        Heartbeat.objects.create(name=EXPIRY, at=timezone.now() - timedelta(seconds=ago))
    html = text(summary(seen(ann, LIST)))
    assert words in html
    assert ("Calls are not affected." in html) == (ago != 3.5)


# The rows ----------------------------------------------------------------------------------------


def cell(html: str, field: str) -> str:
    (found,) = re.findall(rf'<t[dh] class="field-{field}[^"]*">(.*?)</t[dh]>', html, re.DOTALL)
    return str(found)


@pytest.mark.parametrize(
    ("left", "words"),
    [(7, "for another 7 s"), (725, "for another 12:05"), (3 * 86_400 + 9, "for another 3 days")],
)
def test_a_mode_that_ends_says_when(ann: Client, left: float, words: str) -> None:
    until = timezone.now() + timedelta(seconds=left)
    CircuitFactory.create(opened=True, mode=Mode.FORCED_OPEN, mode_until=until)
    shown = cell(seen(ann, LIST), "error")
    assert text(shown) == f"forced open {words}"
    assert f'title="{until:%Y-%m-%d %H:%M:%S} UTC"' in shown
    assert ("data-circuits-countdown" in shown) == (left < 86_400)


def test_a_mode_whose_time_is_up_says_so(ann: Client) -> None:
    until = timezone.now() - timedelta(seconds=1)
    CircuitFactory.create(opened=True, mode=Mode.FORCED_OPEN, mode_until=until)
    assert text(cell(seen(ann, LIST), "error")) == "forced open time is up"


def test_an_error_has_an_age(ann: Client) -> None:
    moment = timezone.now() - timedelta(minutes=5, seconds=1)
    CircuitFactory.create(last_error="HTTP 500", last_failure_at=moment)
    assert text(cell(seen(ann, LIST), "error")) == "HTTP 500 5 minutes ago"


def test_the_calls_of_the_last_hour_are_drawn_for_each_circuit(ann: Client) -> None:
    minute = int(timezone.now().timestamp() // 60)
    for name, failures in (("a", 2), ("b", 0)):
        circuit = CircuitFactory.create(name=name)
        if failures:
            Minute.objects.create(circuit=circuit, minute=minute, failures=failures, successes=1)
    html = seen(ann, LIST)
    labels = re.findall(r'class="circuits-spark" role="img" aria-label="([^"]*)"', html)
    assert [label.partition(" in ")[0] for label in labels] == [
        "1 success, 2 failures and 0 refusals",
        "No calls",
    ]


def test_more_circuits_cost_no_more_queries(ann: Client) -> None:
    def queries(url: str) -> int:
        with CaptureQueriesContext(connections["circuits"]) as asked:
            assert ann.get(url).status_code == 200
        return len(asked)

    minute = int(timezone.now().timestamp() // 60)
    for _ in range(2):
        Minute.objects.create(circuit=CircuitFactory.create(), minute=minute, successes=1)
    few = {url: queries(url) for url in (LIST, LIVE)}
    for _ in range(30):
        Minute.objects.create(circuit=CircuitFactory.create(), minute=minute, successes=1)
    assert {url: queries(url) for url in (LIST, LIVE)} == few
    # The number of rows, the rows, their calls, who changed them, the families, the
    # summary, the beat.
    assert few[LIVE] <= 8


# What a page that is looked at is told -----------------------------------------------------------


def test_the_list_is_told_what_the_page_itself_says(ann: Client) -> None:
    CircuitFactory.create(name="payments", opened=True, last_error="gone")
    CircuitFactory.create(name="mail")
    payload, html = live_answer(ann), seen(ann, LIST)
    for circuit in payload["circuits"]:
        assert len(circuit["cells"]) == 7
        quiet = [each for each in circuit["cells"] if "countdown" not in each]
        assert all(each in html for each in quiet)
    assert text(payload["parts"]["summary"]) == text(summary(html))
    down, well = payload["circuits"]
    assert (down["generation"], well["generation"]) == (1, 0)
    assert down["words"] == "payments is now open."
    assert down["seconds"] < 5


def test_the_list_is_told_of_what_its_query_asks_for(ann: Client) -> None:
    CircuitFactory.create(name="payments", opened=True)
    CircuitFactory.create(name="mail")

    def names(**query: str) -> list[str]:
        return [each["words"].partition(" ")[0] for each in live_answer(ann, **query)["circuits"]]

    assert names() == ["payments", "mail"]
    assert names(state__exact="closed") == ["mail"]
    assert names(q="pay") == ["payments"]
    assert names(o="1") == ["mail", "payments"]


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (Mode.AUTOMATIC, "payments is now open."),
        (Mode.OBSERVE, "payments is now open and refuses nothing."),
        (Mode.FORCED_OPEN, "payments is now forced open."),
    ],
)
def test_a_change_is_told_in_words(ann: Client, mode: Mode, words: str) -> None:
    circuit = CircuitFactory.create(name="payments", opened=True, mode=mode)
    assert live_answer(ann)["circuits"][0]["words"] == words
    assert live_answer(ann, live_one(circuit))["circuits"][0]["words"] == words


def test_a_circuits_page_is_told_what_it_says_itself(ann: Client) -> None:
    # Long enough ago that an answer a second later differs only in its numbers.
    moment = timezone.now() - timedelta(minutes=5, seconds=20)
    circuit = CircuitFactory.create(
        name="payments", opened=True, last_error="gone", state_changed_at=moment, opened_at=moment
    )
    TransitionFactory.create(circuit=circuit, detail="gone", at=moment)
    page = seen(ann, reverse("admin:circuits_circuit_change", args=[circuit.pk]))
    payload = live_answer(ann, live_one(circuit))
    parts = set(re.findall(r'data-circuits-part="(\w+)"', page))
    assert parts == payload["parts"].keys() != set()
    assert "Right now" in "".join(payload["parts"].values())
    for part in payload["parts"].values():
        assert re.sub(r"\d+", "0", text(part)) in re.sub(r"\d+", "0", text(page))
    assert payload["fields"]["state_badge"] in page
    assert text(payload["fields"]["failures"]) == "5 / 5"


def test_what_is_told_is_in_the_language_of_the_user(ann: Client) -> None:
    moment = timezone.now() - timedelta(minutes=5, seconds=1)
    CircuitFactory.create(opened=True, down_since=moment)
    response = ann.get(LIVE, headers={"Accept-Language": "nl"})
    assert "5\xa0minuten" in "".join(response.json()["circuits"][0]["cells"])


def test_what_a_site_adds_to_the_list_is_told_too(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.site._registry[Circuit], "list_display", ("name", "probe_url"))
    CircuitFactory.create(name="payments", probe_url="http://h/")
    with CaptureQueriesContext(connections["circuits"]) as asked:
        (circuit,) = live_answer(ann)["circuits"]
    assert text(" ".join(circuit["cells"])) == "payments http://h/"
    assert not any(Minute._meta.db_table in query["sql"] for query in asked)


def test_rows_that_are_being_edited_are_left_alone(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    CircuitFactory.create()
    assert 'data-circuits-known="[]"' not in seen(ann, LIST)
    monkeypatch.setattr(admin.site._registry[Circuit], "list_editable", ("threshold",))
    monkeypatch.setattr(admin.site._registry[Circuit], "list_display", ("name", "threshold"))
    assert 'data-circuits-known="[]"' in seen(ann, LIST)


def test_what_is_told_is_sent_compressed(ann: Client) -> None:
    CircuitFactory.create_batch(20)
    response = ann.get(LIVE, headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(response.content) < len(ann.get(LIVE).content) / 5


def test_asking_is_only_reading_and_is_never_stored(ann: Client) -> None:
    circuit = CircuitFactory.create(expired=True)
    for url in (LIVE, live_one(circuit)):
        before = Circuit.objects.values().get()
        response = ann.get(url)
        assert response.headers["Content-Type"] == "application/json"
        assert "no-store" in response.headers["Cache-Control"]
        assert ann.post(url).status_code == 405
        assert Circuit.objects.values().get() == before


def test_a_message_waits_for_the_page_that_shows_it(ann: Client) -> None:
    circuit = CircuitFactory.create(name="payments")
    ann.post(LIST, {"action": "delete_selected", "_selected_action": circuit.pk, "post": "yes"})
    live_answer(ann)
    assert "Successfully deleted 1 circuit." in text(seen(ann, LIST))


@contextmanager
def unreadable_circuits() -> Iterator[None]:
    """Let the circuits' database refuse every query of this process while the block runs."""

    def refuse(*args: Any) -> None:
        raise OperationalError("gone")

    with connections["circuits"].execute_wrapper(refuse):
        yield


def test_an_outage_of_the_circuits_database_is_told_in_a_sentence(ann: Client) -> None:
    circuit = CircuitFactory.create()
    for url in (LIVE, live_one(circuit)):
        with unreadable_circuits():
            response = ann.get(url)
        assert response.status_code == 503
        assert response.json() == {"error": "The circuits' database cannot be read."}
        assert "no-store" in response.headers["Cache-Control"]


def test_what_is_not_there_any_more_is_told_in_a_sentence(ann: Client) -> None:
    CircuitFactory.create()
    gone = reverse("admin:circuits_circuit_live_one", args=[0])
    for url in (gone, f"{LIVE}?threshold=many"):
        response = ann.get(url)
        assert response.status_code == 404
        assert response.json() == {"error": "What this page shows is not there any more."}


def test_who_is_not_signed_in_is_sent_to_the_login() -> None:
    response = Client().get(LIVE)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")


# Times -------------------------------------------------------------------------------------------


def test_times_are_for_the_browser_to_write_unless_the_site_knows_the_users_zone() -> None:
    CircuitFactory.create(opened=True)
    (reading,) = read_circuits()
    moment = reading.circuit.state_changed_at
    assert moment
    assert 'data-circuits-time="title"' in display.retry_in(reading)
    assert 'data-circuits-time="day"' in display.since(reading)
    assert 'data-circuits-time="text"' in display.at(moment)
    with timezone.override(ZoneInfo("Asia/Tokyo")):
        assert "data-circuits-time" not in display.retry_in(reading)
        tokyo = display.at(moment)
    assert "data-circuits-time" not in tokyo
    assert f"{moment.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M:%S} JST" in tokyo


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59, "59 s"), (59.5, "1:00"), (605, "10:05"), (3725, "1:02:05")],
)
def test_a_countdown_is_written_as_on_a_clock(seconds: float, words: str) -> None:
    assert clock(seconds) == words


def test_the_list_filters_by_family(ann: Client) -> None:
    for name in ("payments", "payments/charges", "payments/refunds", "partner/a", "users"):
        CircuitFactory.create(name=name)
    url = reverse("admin:circuits_circuit_changelist")
    shown = ann.get(url).content.decode()
    assert "payments (3)" in shown
    assert "partner (1)" in shown
    found = ann.get(url, {"family": "payments"}).context["cl"].result_list
    assert {each.name for each in found} == {"payments", "payments/charges", "payments/refunds"}
    assert not ann.get(url, {"family": "nobody"}).context["cl"].result_list
