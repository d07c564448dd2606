"""Nothing secret is kept: not in a row, the history, a log line or an exception's words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import circuits
from circuits.exceptions import RemoteCallFailedException
from circuits.machine import Mode
from circuits.models import Circuit, Transition
from circuits.redaction import redact_url
from tests.factories import CircuitFactory
from tests.remotes import ILL, Request, answer, nobody, remote_that, silent_remote

pytestmark = pytest.mark.usefixtures("committed")

SECRET = "hunter2"

SECRET_URL = f"redis://:{SECRET}@cache:6379/0"

Call = Callable[..., Any]

CALLS: dict[str, Call] = {"call": circuits.call, "acall": async_to_sync(circuits.acall)}


@pytest.fixture(autouse=True)
def _every_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "circuits")


def with_secrets(url: str) -> str:
    """Put secrets wherever a URL may hold them."""
    return (
        url.replace("://", f"://{SECRET}:{SECRET}@")
        + f"/path?token={SECRET}&next=/{SECRET}?{SECRET}#{SECRET}"
    )


def written() -> str:
    """All that is kept of all circuits."""
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
    """Send the caller on to another address with a secret, which fails."""
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

#: What HTTP can send as a password, without what ends it in a URL and must be escaped there.
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
