"""No secret is kept: not in a row, the history, a log line or the message of an exception."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from typing import Any
from urllib.request import urlopen

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path, reverse
from django.views.debug import get_default_exception_reporter_filter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

import circuits
from circuits.core.status import Mode
from circuits.exceptions import RemoteCallFailedException
from circuits.models import Circuit, Transition
from circuits.redaction import redact_url
from circuits.steering.probe import probe
from circuits.tasks import notify
from tests.factories import CircuitFactory
from tests.mail import set_backend
from tests.remotes import ILL, Request, answer, nobody, remote_that, silent_remote
from tests.staff import HISTORY, LIST, incident, operate, page, seen

pytestmark = pytest.mark.usefixtures("committed")

SECRET = "hunter2"

SECRET_URL = f"redis://:{SECRET}@cache:6379/0"

Call = Callable[..., Any]

CALLS: dict[str, Call] = {"call": circuits.call, "acall": async_to_sync(circuits.acall)}


@pytest.fixture(autouse=True)
def _every_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "circuits")


def with_secrets(url: str) -> str:
    """Return a URL with secrets in every place that can hold one."""
    return (
        url.replace("://", f"://{SECRET}:{SECRET}@")
        + f"/path?token={SECRET}&next=/{SECRET}?{SECRET}#{SECRET}"
    )


def written() -> str:
    """Return everything that is kept of all circuits, as text."""
    return repr([*Circuit.objects.values_list(), *Transition.objects.values_list()])


def said(error: BaseException) -> str:
    return f"{error} {error!r} {error.args!r}"


def logged(caplog: pytest.LogCaptureFixture) -> str:
    records = [record for record in caplog.records if record.name.startswith("circuits")]
    return repr([(record.getMessage(), record.__dict__) for record in records])


@contextmanager
def no_answer() -> Iterator[str]:
    with silent_remote() as remote:
        yield remote.url


@contextmanager
def remote(reply: bytes | Callable[[Request], bytes]) -> Iterator[str]:
    with remote_that(reply, stays=False) as serving:
        yield serving.url


def redirect_to_fault(request: Request) -> bytes:
    """Redirect the caller to another URL with a secret, which fails."""
    if request.target.startswith("/there"):
        return answer(500, Connection="close")
    return answer(302, Location=f"/there?token={SECRET}", Connection="close")


REMOTES: dict[str, Callable[[], Any]] = {
    "server error": lambda: remote(answer(500, Connection="close")),
    "redirect": lambda: remote(redirect_to_fault),
    "nobody": nobody,
    "no answer": no_answer,
    **{illness: lambda illness=illness: remote(ILL[illness]) for illness in ILL},  # type: ignore[misc]
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("serve", REMOTES.values(), ids=REMOTES)
def test_a_call_that_fails(
    serve: Callable[[], Any], call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    CircuitFactory(name="payments", threshold=1, timeout=0.2)
    with serve() as url, pytest.raises(RemoteCallFailedException) as failed:
        call("payments", with_secrets(url))
    row = Circuit.objects.get()
    assert (row.state, bool(row.last_error)) == ("open", True)
    assert Transition.objects.get().detail == row.last_error
    assert "Changed state" in logged(caplog)
    assert SECRET not in said(failed.value)
    assert SECRET not in written()
    assert SECRET not in logged(caplog)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_is_refused(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    CircuitFactory(name="payments", opened=True)
    with nobody() as url, pytest.raises(circuits.CircuitOpenError) as refused:
        call("payments", with_secrets(url))
    circuits.flush()
    assert SECRET not in said(refused.value)
    assert SECRET not in written()
    assert SECRET not in logged(caplog)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    "url",
    [
        f"ftp://{SECRET}@host/?{SECRET}",
        f"http://user:{SECRET}/",
        f"http://user:[{SECRET}@host/",
        f"http:///?token={SECRET}",
        f"http://host/?token={SECRET}\n",
    ],
)
def test_a_url_that_cannot_be_called(call: Call, url: str) -> None:
    with pytest.raises(circuits.InvalidInputError) as refused:
        call("payments", url.replace("\n", "\n."))
    assert SECRET not in said(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("enter", [circuits.guard, circuits.protect])
def test_an_exception_of_ones_own(enter: Any, caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        raise ConnectionError(f"No way to {with_secrets('https://host')}, none to {SECRET_URL}")

    CircuitFactory(name="payments", threshold=1)
    with suppress(ConnectionError):
        if enter is circuits.guard:
            with enter("payments"):
                work()
        else:
            enter("payments")(work)()
    assert Circuit.objects.get().last_error == (
        "ConnectionError: No way to https://host/path none to redis://cache:6379/0"
    )
    assert SECRET not in written()
    assert SECRET not in logged(caplog)


def test_what_make_remote_call_raises() -> None:
    def work() -> None:
        raise ConnectionError(with_secrets("https://host"))

    with pytest.raises(RemoteCallFailedException) as failed:
        circuits.CircuitBreaker(work, name="payments").make_remote_call()
    assert SECRET not in said(failed.value)
    assert SECRET not in written()


# Whatever the secrets look like

UNPRINTABLE: Any = ["C", "Zl", "Zp"]

queries = st.text(st.characters(exclude_categories=UNPRINTABLE), max_size=8)

#: Passwords that HTTP can send, without the characters that must be escaped in a URL.
passwords = st.text(
    st.characters(max_codepoint=255, exclude_categories=UNPRINTABLE, exclude_characters="/\\?#"),
    max_size=8,
)


@given(before=passwords, after=passwords, query=queries, fragment=queries)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_url(
    remote: str,
    caplog: pytest.LogCaptureFixture,
    before: str,
    after: str,
    query: str,
    fragment: str,
) -> None:
    caplog.clear()
    Circuit.objects.get_or_create(name="payments", defaults={"mode": Mode.FORCED_CLOSED})
    host = remote.removeprefix("http://")
    url = (
        f"http://{before}:{before}{SECRET}{after}@{host}/faulty"
        f"?{query}{SECRET}{query}#{fragment}{SECRET}{fragment}"
    )
    with pytest.raises((RemoteCallFailedException, circuits.InvalidInputError)) as failed:
        circuits.call("payments", url)
    assert SECRET not in said(failed.value)
    assert SECRET not in written()
    assert SECRET not in logged(caplog)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("http://host/path", "http://host/path"),
        ("https://us er:pa ss@host:80/a b?to ken=se cret#frag ment", "https://host:80/a b"),
        ("http://us@er:pa@ss@[::1]:80/", "http://[::1]:80/"),
    ],
)
def test_a_url_is_redacted_though_it_holds_spaces(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


# Wherever a text ends up

TEXT = (
    f"https://ann:{SECRET}@h.example/bot123456:{SECRET}-x_Secret0token9/sendMessage?key={SECRET} "
    f"Bearer {SECRET} password={SECRET} api_key={SECRET} user:{SECRET}@db "
    f"GET path?sig={SECRET} site-{SECRET}"
)
KEPT = (
    "https://h.example/***/sendMessage Bearer *** password=*** api_key=*** ***@db GET path site-***"
)


def raising() -> None:
    raise ConnectionError(TEXT)


def guarded() -> None:
    with circuits.guard("payments"):
        raising()


PATHS: dict[str, Callable[[], Any]] = {
    "guard": guarded,
    "protect": circuits.protect("payments")(raising),
    "make_remote_call": lambda: circuits.CircuitBreaker(
        raising, name="payments"
    ).make_remote_call(),
    "task": lambda: circuits.circuit_task("payments", name="tests.raising")(raising)(),
}


@pytest.fixture
def site(settings: Settings) -> Settings:
    set_backend(settings)
    settings.CIRCUITS = {
        **settings.CIRCUITS,
        "REDACT": [f"(?<=site-){SECRET}"],
        "NOTIFY": {"EMAILS": ["ops@example.org"]},
    }
    return settings


@pytest.mark.parametrize("fail", PATHS.values(), ids=PATHS)
def test_a_text_ends_up_nowhere_with_its_secrets(
    site: Settings, fail: Callable[[], Any], ann: Client, caplog: pytest.LogCaptureFixture
) -> None:
    circuit = CircuitFactory.create(name="payments", threshold=1)
    with remote_that(answer(), stays=False) as hook:
        site.CIRCUITS["NOTIFY"]["SECRET_WEBHOOK"] = hook.url
        site.CIRCUITS = {**site.CIRCUITS}
        with suppress(ConnectionError, RemoteCallFailedException):
            fail()
        assert notify() == 1
        told = hook.requests[0].body.decode()
    circuit.refresh_from_db()
    assert circuit.last_error == f"ConnectionError: {KEPT}"
    opening = Transition.objects.get()
    pages = [LIST, page(circuit), HISTORY, incident(circuit, opening.generation)]
    shown = [seen(ann, address) for address in [*pages, reverse("circuits_status:health")]]
    export: Any = ann.get(reverse("admin:circuits_transition_export"))
    shown.append(b"".join(export.streaming_content).decode())
    assert all("sendMessage" in each for each in shown)
    commands = []
    for arguments in (["list", "--json"], ["show", "payments"], ["show", "payments", "--json"]):
        out = StringIO()
        call_command("circuits", *arguments, stdout=out)
        commands.append(out.getvalue())
    for text in (
        written(),
        logged(caplog),
        repr(mail.outbox[0].message()),
        told,
        *shown,
        *commands,
    ):
        assert SECRET not in text


def test_a_reason_of_staff_ends_up_nowhere_with_its_secrets(
    site: Settings, ann: Client, caplog: pytest.LogCaptureFixture
) -> None:
    circuit = CircuitFactory.create(name="payments")
    ann.post(operate(circuit, "force_open"), {"mode": circuit.mode, "reason": TEXT})
    assert Circuit.objects.get().mode == Mode.FORCED_OPEN
    assert "sendMessage" in LogEntry.objects.get().change_message
    assert SECRET not in repr(LogEntry.objects.values_list())
    assert SECRET not in written()
    assert SECRET not in logged(caplog)


NO_HTTP = [
    f"-ERR unknown command {SECRET}\r\n",
    f"SSH-2.0-{SECRET}\r\n",
    f"HTTP/7.5 {SECRET}\r\n\r\n",
    f"HTTP/1.1 {SECRET} OK\r\n\r\n",
    f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
    f"HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n",
]


@pytest.mark.parametrize("reply", NO_HTTP)
@pytest.mark.parametrize("call", [*CALLS.values(), "probe", "urllib"])
def test_what_is_not_http_is_not_quoted(
    call: Any, reply: str, caplog: pytest.LogCaptureFixture
) -> None:
    CircuitFactory(name="payments", threshold=1)
    said_by = ""
    with remote(reply.encode()) as url:
        if call == "probe":
            said_by = repr(probe("payments", url))
        elif call == "urllib":
            with suppress(Exception), circuits.guard("payments"):
                urlopen(url, timeout=5).read()
        else:
            with suppress(RemoteCallFailedException):
                call("payments", url)
    assert SECRET not in said_by
    assert SECRET not in written()
    assert SECRET not in logged(caplog)


# Django's page about an error

HOOK = f"https://hooks.example/{SECRET}"


def asks(request: HttpRequest) -> HttpResponse:
    """A view that needs a circuit."""
    return HttpResponse(circuits.get("payments").state)


urlpatterns = [path("", asks)]


@pytest.fixture
def djangos_own_filter(settings: Settings) -> Iterator[None]:
    """Report errors as a site that has not chosen a filter."""
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = "django.views.debug.SafeExceptionReporterFilter"
    get_default_exception_reporter_filter.cache_clear()  # type: ignore[attr-defined]
    yield
    get_default_exception_reporter_filter.cache_clear()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("djangos_own_filter")
@pytest.mark.parametrize("mistake", [{}, {"THRESHOLD": 5}], ids=["right", "wrong"])
def test_the_page_of_an_error_shows_no_secret_of_the_settings(
    settings: Settings, mistake: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This covers both the settings that it lists and the variables of the traceback."""
    settings.DEBUG = True
    settings.ROOT_URLCONF = __name__
    secret = {"NOTIFY": {"SECRET_WEBHOOK": HOOK}, "HEALTH_TOKEN": SECRET * 5}
    if not mistake:
        monkeypatch.setattr(circuits, "get", circuits.guard("payments").__exit__)
    with override_settings(CIRCUITS={**settings.CIRCUITS, **mistake, **secret}):
        answered = Client(raise_request_exception=False).get("/")
    page = answered.content.decode()
    assert answered.status_code == 500
    assert "ImproperlyConfigured" in page if mistake else "TypeError" in page
    assert "SECRET_WEBHOOK" in page
    assert "HEALTH_TOKEN" in page
    assert SECRET not in page
