"""People are notified of each opening and closing once, and not too often."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import F
from pytest_django import Settings

import circuits
from circuits.models import Circuit, Transition
from circuits.moments import to_datetime
from circuits.process import runtime
from circuits.storage.database import DatabaseStore
from circuits.tasks import notify
from circuits.upkeep import notifications, outbox
from tests.circuits.calls import raw_server as raw
from tests.circuits.calls.raw_server import SHORT, serving
from tests.concurrency import in_threads, in_time
from tests.factories import CircuitFactory
from tests.mail import LOCMEM, set_backend
from tests.remotes import answer, remote_that, silent_remote

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture(autouse=True)
def told(settings: Settings) -> Settings:
    settings.CIRCUITS = {
        **settings.CIRCUITS,
        "NOTIFY": {"EMAILS": ["ops@example.org"], "QUIET_SECONDS": 300},
    }
    mail.outbox = []
    return settings


def open_circuit(name: str = "payments") -> None:
    for _ in range(5):
        with pytest.raises(ConnectionError), circuits.guard(name):
            raise ConnectionError("down")


def close_circuit(name: str = "payments") -> None:
    Circuit.objects.filter(name=name).update(retry_at=F("retry_at") - timedelta(hours=1))
    runtime.forget()
    with circuits.guard(name):
        pass


def let_quiet_period_pass() -> None:
    Circuit.objects.update(notified_at=F("notified_at") - timedelta(hours=1))


def let_claims_run_out() -> None:
    past = to_datetime(DatabaseStore().now() - 1)
    Transition.objects.exclude(claimed_until=None).update(claimed_until=past)


def test_an_opening_is_told_once_with_its_cause() -> None:
    open_circuit()
    assert notify() == 1
    [message] = mail.outbox
    assert message.subject == "Circuit payments is open"
    assert message.to == ["ops@example.org"]
    assert "too many failures: ConnectionError: down" in message.body
    let_quiet_period_pass()
    assert notify() == 0
    assert len(mail.outbox) == 1


def with_site_url(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SITE_URL": "https://site.example"}


def incident_page() -> str:
    return f"https://site.example/admin/circuits/circuit/{Circuit.objects.get().pk}/incident/1/"


def test_an_opening_says_since_when_why_when_it_is_tried_and_links_to_the_incident(
    told: Settings,
) -> None:
    with_site_url(told)
    open_circuit()
    Circuit.objects.update(
        down_since=F("down_since") - timedelta(minutes=15),
        retry_at=F("retry_at") + timedelta(minutes=5, seconds=20),
        reopen_count=7,
        total_refusals=3752,
    )
    assert notify() == 1
    lines = mail.outbox[0].body.splitlines()
    assert lines[:2] == ["Circuit payments is open.", ""]
    course = r"Down since [^,]*\d\d:\d\d \(15\xa0minutes\), 7 failed trials, 3,752 refused\."
    assert re.fullmatch(course, lines[2])
    assert lines[3] == "Why: too many failures: ConnectionError: down"
    assert re.fullmatch(r"Tried next in 5\xa0minutes\.", lines[4])
    assert lines[5:7] == [incident_page(), ""]
    assert len(lines) == 8


def test_a_closing_says_how_long_it_was_down_and_what_was_refused(told: Settings) -> None:
    with_site_url(told)
    open_circuit()
    close_circuit()
    opening = Transition.objects.filter(from_state="closed")
    opening.update(at=F("at") - timedelta(minutes=15), refusals=3752)
    assert notify() == 1
    lines = mail.outbox[0].body.splitlines()
    course = r"It was down from \d\d:\d\d to \d\d:\d\d \(15\xa0minutes\), 3,752 refused\."
    assert re.fullmatch(course.replace(r"\d\d:\d\d", r"[^()]*\d\d:\d\d"), lines[2])
    assert lines[3:5] == ["Why: too many failures: ConnectionError: down", incident_page()]


def test_an_incident_that_is_no_longer_kept_is_told_of_without_its_course() -> None:
    open_circuit()
    close_circuit()
    Transition.objects.filter(from_state="closed").delete()
    assert notify() == 1
    assert len(mail.outbox[0].body.splitlines()) == 3


def test_a_closing_is_told_too_but_the_trial_between_is_not() -> None:
    open_circuit()
    notify()
    close_circuit()
    let_quiet_period_pass()
    assert notify() == 1
    assert mail.outbox[-1].subject == "Circuit payments is closed"
    assert "half open" not in mail.outbox[-1].body


def test_a_flapping_circuit_is_told_together_after_the_quiet_period() -> None:
    open_circuit()
    assert notify() == 1
    for _ in range(3):
        close_circuit()
        open_circuit()
        assert notify() == 0
    let_quiet_period_pass()
    assert notify() == 1
    assert len(mail.outbox) == 2
    assert mail.outbox[-1].body.startswith("Circuit payments is open, after 6 changes.")


def test_each_circuit_has_its_own_quiet_period() -> None:
    open_circuit("payments")
    assert notify() == 1
    open_circuit("rates")
    assert notify() == 1
    assert [message.subject for message in mail.outbox] == [
        "Circuit payments is open",
        "Circuit rates is open",
    ]


def test_many_hosts_tell_it_once() -> None:
    for name in ("a", "b", "c"):
        open_circuit(name)
    assert sum(in_threads(6, lambda _: notify())) == 3
    assert sorted(message.subject[8:9] for message in mail.outbox) == ["a", "b", "c"]


class BrokenBackend(BaseEmailBackend):
    def send_messages(self, email_messages: Any) -> int:
        raise ConnectionRefusedError("the mail server is down")


SECRET = "12" + "34"


class WrongBackend(BaseEmailBackend):
    def send_messages(self, email_messages: Any) -> int:
        raise TypeError(f"with the password {SECRET}")


def test_it_is_tried_again_when_the_mail_server_is_down(
    told: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    set_backend(told, f"{__name__}.BrokenBackend")
    open_circuit()
    assert notify() == 0
    assert "Could not tell of payments by mail: ConnectionRefusedError" in caplog.text
    set_backend(told, LOCMEM)
    assert notify() == 0, "not at once"
    let_claims_run_out()
    assert notify() == 1
    assert len(mail.outbox) == 1


def test_an_error_that_nobody_foresaw_is_logged_with_where_it_came_from_once_a_minute(
    told: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    set_backend(told, f"{__name__}.WrongBackend")
    for name in ("a", "b", "c"):
        open_circuit(name)
    assert notify() == 0
    assert caplog.text.count("Could not tell of") == 3
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "TypeError" in record.getMessage()
    assert "in send_messages" in record.getMessage()
    assert SECRET not in caplog.text


def test_what_a_dead_process_had_claimed_is_told_by_another() -> None:
    open_circuit()
    [_notice] = outbox.claim(DatabaseStore())  # and it dies
    assert notify() == 0
    let_claims_run_out()
    assert notify() == 1


def test_a_change_after_a_try_that_half_failed_is_told_everywhere(told: Settings) -> None:
    with remote_that(answer(500), stays=False) as hook:
        told.CIRCUITS = with_webhook(told, hook.url)
        open_circuit()
        assert notify() == 0, "the mail went out, the webhook failed"
        assert len(mail.outbox) == 1
    close_circuit()
    let_claims_run_out()
    with remote_that(answer(), stays=False) as hook:
        told.CIRCUITS = with_webhook(told, hook.url)
        assert notify() == 1
        assert len(hook.requests) == 1
    assert mail.outbox[-1].subject == "Circuit payments is closed"
    assert len(mail.outbox) == 2


def in_an_hour() -> Any:
    """Return a moment in an hour, as one that was near before the database's clock was set back."""
    return to_datetime(DatabaseStore().now() + 3600)


def test_a_claim_of_before_the_clock_was_set_back_is_over() -> None:
    open_circuit()
    Transition.objects.update(claimed_until=in_an_hour())
    assert notify() == 1


def test_the_quiet_period_of_before_the_clock_was_set_back_is_over() -> None:
    open_circuit()
    assert notify() == 1
    close_circuit()
    Circuit.objects.update(notified_at=in_an_hour())
    assert notify() == 1
    assert mail.outbox[-1].subject == "Circuit payments is closed"


def test_nothing_waits_where_nobody_is_to_be_told(told: Settings) -> None:
    told.CIRCUITS = {**told.CIRCUITS, "NOTIFY": {}}
    open_circuit()
    told.CIRCUITS = {**told.CIRCUITS, "NOTIFY": {"EMAILS": ["late@example.org"]}}
    assert notify() == 0
    assert mail.outbox == []


def test_who_forced_it_is_told() -> None:
    CircuitFactory(name="payments")
    circuits.get("payments").force_open(actor="rota", reason="maintenance until 4")
    notify()
    assert "mode changed: maintenance until 4 (rota)" in mail.outbox[0].body


# The webhook


def with_webhook(told: Settings, url: str) -> dict[str, Any]:
    """Return the settings with a webhook added."""
    return {**told.CIRCUITS, "NOTIFY": {**told.CIRCUITS["NOTIFY"], "SECRET_WEBHOOK": url}}


class Hook(BaseHTTPRequestHandler):
    """Records what is posted, and answers with a status that the test sets."""

    status: ClassVar[int] = 200
    location: ClassVar[str] = ""
    received: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.received.append(json.loads(body or "{}"))
        self.send_response(self.status)
        if self.location:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - what http.server calls

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hook(told: Settings) -> Iterator[type[Hook]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/hooks/s3cret"
    told.CIRCUITS["NOTIFY"]["SECRET_WEBHOOK"] = url
    told.CIRCUITS = {**told.CIRCUITS}
    Hook.status, Hook.location, Hook.received = 200, "", []
    yield Hook
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_receives_the_changes(hook: type[Hook]) -> None:
    open_circuit()
    assert notify() == 1
    [payload] = hook.received
    assert (payload["circuit"], payload["state"]) == ("payments", "open")
    assert payload["text"].startswith("Circuit payments is open.")
    [change] = payload["changes"]
    assert change["reason"] == "failures"
    assert change["generation"] == 1


def test_a_webhook_receives_the_incident(hook: type[Hook], told: Settings) -> None:
    with_site_url(told)
    open_circuit()
    with pytest.raises(circuits.CircuitOpenError), circuits.guard("payments"):
        pass
    circuits.flush()
    assert notify() == 1
    incident = hook.received[0]["incident"]
    assert 0 < incident.pop("retry_in") <= 10
    assert datetime.fromisoformat(incident.pop("since")) == Circuit.objects.get().down_since
    assert incident == {
        "until": None,
        "reason": "failures",
        "detail": "ConnectionError: down",
        "actor": "",
        "failed_trials": 0,
        "refused": 1,
        "url": incident_page(),
    }
    close_circuit()
    let_quiet_period_pass()
    assert notify() == 1
    incident = hook.received[1]["incident"]
    assert datetime.fromisoformat(incident["until"]) == Circuit.objects.get().state_changed_at
    assert (incident["refused"], incident["retry_in"]) == (1, None)


def test_a_webhook_that_fails_is_tried_again_and_the_mail_is_not_sent_twice(
    hook: type[Hook], caplog: pytest.LogCaptureFixture
) -> None:
    hook.status = 500
    open_circuit()
    assert notify() == 0
    assert len(mail.outbox) == 1
    assert "s3cret" not in caplog.text
    hook.status = 200
    let_claims_run_out()
    assert notify() == 1
    assert len(mail.outbox) == 1
    assert len(hook.received) == 2


def test_a_webhook_that_has_moved_has_not_been_told(
    hook: type[Hook], caplog: pytest.LogCaptureFixture
) -> None:
    hook.status, hook.location = 302, "/login"
    open_circuit()
    assert notify() == 0
    assert len(hook.received) == 1, "and nobody went where it leads"
    assert "Could not tell of payments by webhook: HTTPError (HTTP 302)" in caplog.text


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give webhooks a timeout that is short enough for a test."""
    monkeypatch.setattr(notifications, "WEBHOOK_TIMEOUT", SHORT)


def notices_sent_in_time() -> int:
    """Open a circuit and send the notice, within a time limit."""
    open_circuit()
    return in_time(notify, 8)


@pytest.mark.usefixtures("short")
def test_a_webhook_that_is_silent_is_given_up(
    told: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with silent_remote() as remote:
        told.CIRCUITS = with_webhook(told, remote.url)
        assert notices_sent_in_time() == 0
    assert "Could not tell of payments by webhook: ReadTimeout" in caplog.text


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("where", sorted(set(raw.DRIPS) - {"body"}))
def test_a_webhook_that_drips_is_given_up(told: Settings, where: str) -> None:
    with serving(raw.DRIPS[where]()) as remote:
        told.CIRCUITS = with_webhook(told, remote.url)
        assert notices_sent_in_time() == 0


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "500 Oops"])
def test_what_a_webhook_answers_is_not_read(told: Settings, status: str) -> None:
    sent = []

    def without_end(request: raw.Request) -> Iterator[bytes]:
        yield raw.head("Location: /login", status=status, length=10**9)
        while not request.stopped.is_set():
            yield b"x" * 100_000
            sent.append(100_000)

    with serving(without_end) as remote:
        told.CIRCUITS = with_webhook(told, remote.url)
        assert notices_sent_in_time() == (1 if status == "200 OK" else 0)
    assert sum(sent) < 20_000_000, "as much as buffers take"
