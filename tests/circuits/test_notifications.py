"""People are told of each opening and closing: once, and not too often."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import F
from pytest_django import Settings

import circuits
from circuits import breaker, outbox
from circuits.models import Circuit, Transition
from circuits.rows import to_datetime
from circuits.store import DatabaseStore
from circuits.tasks import notify
from tests.concurrency import in_threads

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture(autouse=True)
def told(settings: Settings) -> Settings:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
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
    breaker.forget()
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


def test_it_is_tried_again_when_the_mail_server_is_down(
    told: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    told.EMAIL_BACKEND = f"{__name__}.BrokenBackend"
    open_circuit()
    assert notify() == 0
    assert "Could not tell of payments by mail: ConnectionRefusedError" in caplog.text
    told.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert notify() == 0, "not at once"
    let_claims_run_out()
    assert notify() == 1
    assert len(mail.outbox) == 1


def test_what_a_dead_process_had_claimed_is_told_by_another() -> None:
    open_circuit()
    [_notice] = outbox.claim(DatabaseStore())  # and it dies
    assert notify() == 0
    let_claims_run_out()
    assert notify() == 1


def test_nothing_waits_where_nobody_is_to_be_told(told: Settings) -> None:
    told.CIRCUITS = {**told.CIRCUITS, "NOTIFY": {}}
    open_circuit()
    told.CIRCUITS = {**told.CIRCUITS, "NOTIFY": {"EMAILS": ["late@example.org"]}}
    assert notify() == 0
    assert mail.outbox == []


def test_who_forced_it_is_told() -> None:
    circuits.get("payments").force_open(actor="rota", words="maintenance until 4")
    notify()
    assert "mode changed: maintenance until 4 (rota)" in mail.outbox[0].body


# The webhook


class Hook(BaseHTTPRequestHandler):
    """Takes what is posted, and answers with the status of the moment."""

    status: ClassVar[int] = 200
    received: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(json.loads(body))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hook(told: Settings) -> Iterator[type[Hook]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/hooks/s3cret"
    told.CIRCUITS["NOTIFY"]["WEBHOOK"] = url
    told.CIRCUITS = {**told.CIRCUITS}
    Hook.status, Hook.received = 200, []
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
