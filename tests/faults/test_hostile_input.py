"""Hostile input from outside: names, URLs, settings, forms, arguments, headers.

Any input is either accepted or refused with a sentence: no exception goes unhandled, no secret is
kept, and no text becomes markup in the admin.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any, TypeVar

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, example, given
from hypothesis import settings as fuzzing
from hypothesis import strategies as st
from pytest_django import Settings

import circuits
from circuits import conf
from circuits.console.policy_form import SHARES
from circuits.core.policy import POLICY_NAMES, Policy
from circuits.core.status import Mode
from circuits.exceptions import InvalidInputError, RemoteCallFailedException
from circuits.models import POLICY_FIELDS, Circuit, Transition
from circuits.process import runtime
from circuits.steering.probe import ProbeResult, probe
from circuits.validation import check_name
from tests.calls import succeed
from tests.commands import shell
from tests.factories import CircuitFactory
from tests.faults.soak import seconds
from tests.remotes import Request, remote_that

pytestmark = pytest.mark.usefixtures("committed")

T = TypeVar("T", bound=Callable[..., object])

SECRET = "hunter2"

#: A whole number that Python itself refuses to print or to read.
HUGE = 10**5000
NAN, INF = float("nan"), float("inf")


def many(each_second: int) -> Callable[[T], T]:
    """Try as many examples as take about a second, or as many minutes as are asked for."""
    return fuzzing(
        max_examples=round(each_second * seconds(1)),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


#: Any text, with more of the kinds that often break things.
NASTY = """%s {} ' " > &lt; {{1}} - -- ../ \\ nan inf -1 1e999 ٣ * "><x-evil/onevil='1'>"""
UNSEEN = [
    "\0",
    "\n",
    " ",
    "\x1b[1m",
    "\u00a0",
    "\u2028",
    "\u202e",
    "\ud800",
    "\udcff",
    "\U0001f4a5",
]
nasty = st.sampled_from([*NASTY.split(), *UNSEEN, "<x-evil onevil=1>", "9" * 5000])
texts = st.lists(nasty | st.text(max_size=12), max_size=4).map("".join)


POLICY = {name: getattr(Circuit(), name) for name in POLICY_FIELDS}
FORM = POLICY | {name: 100 * POLICY[name] for name in SHARES}
LIST = reverse("admin:circuits_circuit_changelist")
HISTORY = reverse("admin:circuits_transition_changelist")


def refusal(work: Callable[[], object], error: type[Exception] = InvalidInputError) -> Any:
    """Do some work, and return the exception that it may raise, or None if it raises none."""
    try:
        work()
    except error as refused:
        return refused
    return None


# Names -------------------------------------------------------------------------------------------


@many(40)
@given(texts)
@example("x" * 101)
@example("\u202epayments")
def test_a_name_is_kept_to_the_letter_or_refused(name: str) -> None:
    """Each database keeps a name exactly, or the name never reaches a database."""
    Circuit.objects.all().delete()
    runtime.forget()
    refused = refusal(lambda: succeed(name))
    if refused is not None:
        assert str(refused).isprintable()
        assert not Circuit.objects.exists()
        return
    circuits.flush()
    assert Circuit.objects.get(name=name).name == name
    assert (Circuit.objects.get().total_successes, Circuit.objects.count()) == (1, 1)


@pytest.mark.parametrize("kind", ["none", "huge", "bytes", "list", "nan"])
def test_what_is_no_text_is_no_name(kind: str) -> None:
    """A name of another type is reported as the caller's mistake."""
    kinds: dict[str, Any] = {
        "none": None,
        "huge": HUGE,
        "bytes": b"payments",
        "list": [],
        "nan": NAN,
    }
    for use in (circuits.guard, circuits.protect, circuits.get, check_name):
        with pytest.raises(InvalidInputError, match="must be a string, not"):
            use(kinds[kind])


# URLs --------------------------------------------------------------------------------------------

HOSTS = """
    127.0.0.1 127.0.0.1. evil.example 127.0.0.1.evil.example [::1] [::1 ::1 0x7f.1 2130706433
    evil.example\\@127.0.0.1 127.0.0.1\\@evil.example 127.0.0.1#@evil.example localhost ⓔxample
    127.0.0.1?@evil.example 127.0.0.1%2f@evil.example 127.0.0.1%00.evil.example evil。example
"""
hosts = st.sampled_from([*HOSTS.split(), "127.0.0.1\t.evil.example", ""])
schemes = st.sampled_from(["http", "https", "HTTP", "file", "gopher", "javascript", "http\n", ""])
urls = st.builds(
    "{}{}{}{}{}{}".format,
    schemes,
    st.sampled_from(["://", ":/", ":///", ":", "://\\"]),
    st.sampled_from(["", f"{SECRET}:{SECRET}@", f"user:{SECRET}@", "@", f"a@b:{SECRET}@"]),
    hosts,
    st.sampled_from(["", ":1", ":99999", ":-1", ":x", ":" + "9" * 5000, ":٣"]),
    st.sampled_from(["", "/", f"/?token={SECRET}", f"/#{SECRET}", "/ü\U0001f4a5"]) | texts,
)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the hosts that this process looks up, and resolve none but this machine."""
    seen: list[str] = []
    look_up = socket.getaddrinfo

    def seeing(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("127.0.0.1", "localhost"):
            seen.append(host)
            raise socket.gaierror("no test leaves this machine")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", seeing)
    return seen


@many(60)
@given(url=urls)
@example(url="http://evil.example\\@127.0.0.1:1/")
def test_a_probe_goes_to_no_host_but_those_listed(
    settings: Settings, called: list[str], url: str
) -> None:
    """However a URL is written, only a listed host is called, and no secret is shown."""
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": ["127.0.0.1"]}
    Circuit.objects.get_or_create(name="payments", defaults={"mode": Mode.FORCED_CLOSED})
    results: list[ProbeResult] = []
    refused = refusal(lambda: results.append(probe("payments", url)))
    if refused is not None:
        assert str(refused).isprintable()
        assert refused.__cause__ is None
    said = f"{results} {refused} {refused!r}"
    assert called == []
    assert f":{SECRET}" not in said
    assert f"={SECRET}" not in said
    assert SECRET not in repr(list(Circuit.objects.values_list()))


@many(50)
@given(urls)
def test_a_probe_url_is_kept_without_secrets_or_refused(url: str) -> None:
    """A stored URL has neither password nor query, and a refused one gets an error message."""
    circuit = Circuit(name="payments", probe_url=url)
    refused = refusal(circuit.full_clean, ValidationError)
    if refused is None:
        assert f":{SECRET}" not in url
        assert f"={SECRET}" not in url
    else:
        assert all(message.isprintable() for message in refused.messages)
        assert list(refused.message_dict) == ["probe_url"]


REFUSED = "No probe may call the host evil.example; add it to CIRCUITS['PROBE_HOSTS'] if one may."


@pytest.mark.parametrize("listed", [[], ["example"], [".vil.example"], ["evil.example.org"]])
def test_another_host_is_refused_everywhere_by_name(
    settings: Settings, called: list[str], ann: Client, listed: list[str]
) -> None:
    """The form, both commands and a probe of an older row all refuse with the same sentence."""
    row: Circuit = CircuitFactory.create(name="payments", probe_url="https://evil.example/")
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": listed}
    with pytest.raises(InvalidInputError) as refused:
        probe("payments")
    assert str(refused.value) == REFUSED
    ended = shell("probe", "payments", "http://evil.example:80/")
    assert (ended.status, ended.err) == (2, f"CommandError: {REFUSED}\n")
    ended = shell("circuits", "create", "new", "--probe-url", "http://evil.example/")
    assert (ended.status, ended.err) == (2, f"CommandError: --probe-url: {REFUSED}\n")
    page = reverse("admin:circuits_circuit_change", args=[row.pk])
    response = ann.post(page, FORM | {"probe_url": "http://evil.example/"})
    assert response.context["adminform"].form.errors["probe_url"] == [REFUSED]
    ann.post(page.replace("change", "operate/probe"))
    assert LogEntry.objects.latest("pk").change_message == REFUSED
    assert called == []
    assert list(Circuit.objects.values_list("total_failures", flat=True)) == [0]


REDIRECTS = (301, 302, 303, 307, 308)
LOCATIONS = """
    https://evil.example/ //evil.example file:///etc/passwd gopher://x ftp://x http://[::1
    http://x:x/ //@:0 \xff\xfe
"""


@pytest.mark.parametrize("location", LOCATIONS.split())
def test_a_probe_follows_no_redirect(called: list[str], location: str) -> None:
    """A remote can neither redirect a probe to another host or scheme, nor delay it by its body."""

    def redirect(request: Request) -> bytes:
        status = request.target.removeprefix("/")
        head = f"HTTP/1.1 {status} Away\r\nLocation: {location}\r\nContent-Length: 10000000000\r\n"
        return f"{head}\r\n".encode("latin-1") + b"more " * 1000

    CircuitFactory(name="payments")
    with remote_that(redirect) as remote:
        results = [probe("payments", f"{remote.url}/{status}") for status in REDIRECTS]
    assert [(result.outcome, result.status) for result in results] == [
        ("passed", status) for status in REDIRECTS
    ]
    assert called == []
    assert len(remote.requests) == len(REDIRECTS)


# Settings ----------------------------------------------------------------------------------------

odd: st.SearchStrategy[Any] = (
    st.sampled_from([None, True, HUGE, -HUGE, NAN, INF, Decimal("NaN"), 1j, b""])
    | st.integers()
    | st.floats()
    | texts
    | st.sampled_from([{}, [HUGE], ["a@b", HUGE], {HUGE: HUGE}, range(10**12), object()])
)
words = st.sampled_from([*POLICY_FIELDS, "EMAILS", "WEBHOOK", "QUIET_SECONDS", "payments"]) | texts
dicts = st.dictionaries(words, odd, max_size=3) | st.dictionaries(st.integers(), odd, max_size=1)
values = odd | dicts | st.dictionaries(texts, dicts, max_size=2)
keys = st.sampled_from([field.name.upper() for field in fields(conf.Config)]) | texts
raws = st.dictionaries(keys, values, max_size=4) | odd


@many(150)
@given(raws)
@example({"CIRCUITS": {HUGE: {}}})
@example({"DEFAULTS": {"threshold": HUGE}})
@example({HUGE: 1})
def test_settings_are_taken_or_refused_with_a_sentence(raw: Any) -> None:
    """Any value either works, or is named in an error message of bounded length."""
    found = list(conf.problems(raw))
    for problem in found:
        assert problem.startswith("CIRCUITS")
        assert problem.endswith((".", "..."))
        assert len(problem) < 1500
    if found:
        with pytest.raises(ImproperlyConfigured):
            conf.load(raw)
        return
    config = conf.load(raw)
    for name in ("another", *config.circuits):
        values = config.circuit(name)
        Policy(**{key: value for key, value in values.items() if key in POLICY_NAMES})
        Circuit(name=name, **values).clean_fields()


IMPOSSIBLE: dict[str, Any] = {
    "huge": HUGE,
    "less than huge": -HUGE,
    "nan": NAN,
    "infinite": INF,
    "none": None,
}


@pytest.mark.parametrize("field", [*POLICY_NAMES, "timeout"])
@pytest.mark.parametrize("value", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_policy_value_that_cannot_be_is_refused_by_its_name(field: str, value: Any) -> None:
    """This includes numbers that Python refuses to print."""
    (problem,) = conf.problems({"DEFAULTS": {field: value}})
    assert problem.startswith(f"CIRCUITS['DEFAULTS']: {field} must be ")


# The admin ---------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Finds markup that was made from the text of an input."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "evil" not in tag
        assert not any(name.startswith("onevil") for name, _ in attrs), tag


def look_at(client: Client, *addresses: str, **query: str) -> None:
    """Request pages, which must be complete and contain no markup but their own."""
    for address in addresses:
        response = client.get(address, query, follow=True)
        assert response.status_code == 200, address
        Elements().feed(response.content.decode())


def row_of(model: str, pk: int, view: str = "change") -> str:
    return f"/admin/circuits/{model}/{pk}/{view}/"


@many(4)
@given(name=texts, text=texts)
@example(name="<x-evil onevil=1>", text="<x-evil onevil=1>")
def test_the_admin_shows_any_text_as_text(ann: Client, name: str, text: str) -> None:
    """The admin never shows names, errors, actors or people's words as markup."""
    try:
        name = f"evil {check_name(name)}"[:100].strip()
    except InvalidInputError:
        name = "evil"  # the text is as nasty all the same
    Circuit.objects.all().delete()
    runtime.forget()
    with suppress(ConnectionError), circuits.guard(name):
        raise ConnectionError(text)
    circuits.get(name).force_open(actor=text, reason=text)
    circuit, transition = Circuit.objects.get(), Transition.objects.get()
    ann.post(row_of("circuit", circuit.pk, "operate/probe"))
    look_at(ann, LIST, HISTORY, row_of("transition", transition.pk))
    views = ("change", "delete", "history", "operate/reset", "incident/1")
    look_at(ann, *(row_of("circuit", circuit.pk, view) for view in views))


@many(10)
@given(st.dictionaries(st.sampled_from(POLICY_FIELDS), texts | urls, min_size=1, max_size=4))
@example({"threshold": "9" * 5000, "delay": "1e400", "timeout": "nan", "probe_url": "\0"})
def test_a_form_is_saved_or_shown_again(ann: Client, fields: dict[str, str]) -> None:
    """No value in a form causes a server error, and values that are shown again are escaped."""
    circuit, _ = Circuit.objects.get_or_create(name="payments")
    sent = {**FORM, **fields}
    response = ann.post(row_of("circuit", circuit.pk), {k: encodable(v) for k, v in sent.items()})
    assert response.status_code in (200, 302)
    Elements().feed(response.content.decode())
    circuit.refresh_from_db()
    circuit.full_clean()
    assert f":{SECRET}" not in circuit.probe_url
    assert f"={SECRET}" not in circuit.probe_url


LOOKUPS = ("state__exact", "mode__exact", "circuit__id__exact")


@pytest.mark.parametrize("lookup", ["name__regex", "name__iregex", "last_error__regex"])
def test_nobody_looks_for_a_pattern(ann: Client, lookup: str) -> None:
    """A pattern that takes for ever would occupy the process, and a broken one is an error."""
    for pattern in ("(a+)+$", "("):
        assert ann.get(LIST, {lookup: pattern}).status_code == 400


@many(10)
@given(query=st.dictionaries(st.sampled_from(["q", "p", "o", *LOOKUPS]), texts))
@example(query={"mode__exact": "\0"})
@example(query={"state__exact": "\0"})
@example(query={"q": "\0"})
def test_a_list_is_shown_whatever_is_asked_for(ann: Client, query: dict[str, str]) -> None:
    """No search, filter or page of a list causes a server error."""
    for address in (LIST, HISTORY):
        asked = {key: encodable(value) for key, value in query.items()}
        response = ann.get(address, asked, follow=True)
        assert response.status_code == (400 if refuses(asked) else 200)
        Elements().feed(response.content.decode())


def refuses(query: dict[str, str]) -> bool:
    return any("\0" in query[key] for key in query.keys() & set(LOOKUPS))


@pytest.mark.parametrize("key", ["9" * 30, "9" * 5000, "-1", "nan", "x" * 300, "_00", "<x-evil>"])
def test_an_address_of_no_row_is_not_found(ann: Client, key: str) -> None:
    """This includes numbers that are too large for a database."""
    for view in ("change", "delete", "history"):
        assert ann.get(f"/admin/circuits/circuit/{key}/{view}/").status_code in (302, 404)
    for ask in (ann.get, ann.post):
        assert ask(f"/admin/circuits/circuit/{key}/operate/reset/").status_code == 404
    assert ann.get(f"/admin/circuits/circuit/{key}/incident/1/").status_code == 404
    circuit = CircuitFactory.create()
    assert ann.get(row_of("circuit", circuit.pk, f"incident/{key}")).status_code in (302, 404)


def encodable(value: Any) -> Any:
    """Return a text as a browser sends it, without lone surrogates."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


# Arguments of commands ---------------------------------------------------------------------------

OPTIONS = [f"--{name.replace('_', '-')}" for name in POLICY_FIELDS]
OPTIONS += ["--state", "--mode", "--json", "--reason", "--actor", "--all", "--max-age"]
OPTIONS += ["--interval", "payments"]
COMMANDS = ["circuits", "probe", "check_beat", "circuits list", "circuits show", "circuits create"]
COMMANDS += ["circuits reset", "circuits force-open", "circuits observe"]

arguments = st.lists(st.sampled_from(OPTIONS) | texts, max_size=4)
commands = st.sampled_from(COMMANDS).map(str.split)


@many(40)
@given(command=commands, given=arguments)
@example(command=["circuits", "create"], given=["huge", "--threshold", "9" * 5000])
@example(command=["circuits", "create"], given=["big", "--threshold", "9" * 4000])
@example(command=["circuits", "force-open"], given=["payments", "--reason", "\udcff"])
@example(command=["check_beat"], given=["--max-age", "1e999"])
def test_a_command_does_it_or_says_what_is_wrong(
    settings: Settings, called: list[str], command: list[str], given: list[str]
) -> None:
    """Any arguments lead to a documented exit status, with a sentence unless it is 0."""
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": ["127.0.0.1"]}
    Circuit.objects.get_or_create(name="payments")
    ended = shell(*command, *given)
    assert ended.status in (0, 1, 2)
    assert "Traceback" not in ended.err
    assert ended.status != 2 or ended.err
    assert called == []
    for circuit in Circuit.objects.all():
        circuit.full_clean()


# What remotes say --------------------------------------------------------------------------------

#: The values that an HTTP header can hold.
headers = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)
RETRY_AFTER = [
    "9e999",
    "-1",
    "-9e999",
    "0",
    "9" * 20,
    "9" * 5000,
    "1e3",
    "nan",
    "inf",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Thu, 99 Jan 99999 99:99:99 GMT",
    "\xb2\xb3",
    "\xe9t\xe9",
    "1, 2",
    ";",
]


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a remote, and a list with the ``Retry-After`` and ``Date`` that it sends."""
    said = ["", ""]

    def reply(request: Request) -> bytes:
        head = f"HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: {said[0]}\r\nDate: {said[1]}"
        return f"{head}\r\n\r\n".encode("latin-1")

    with remote_that(reply) as remote:
        yield remote.url, said


@pytest.mark.parametrize("date", ["", "Thu, 01 Jan 1970 00:00:00 GMT", "\xff", "9" * 5000])
@pytest.mark.parametrize("value", RETRY_AFTER)
def test_a_remote_cannot_ask_for_more_than_the_longest_delay(
    asked: tuple[str, list[str]], value: str, date: str
) -> None:
    """Whatever it asks, the failure counts, and the circuit stays open for a bounded time."""
    url, said = asked
    said[:] = [value, date]
    CircuitFactory(name="payments", respect_retry_after=True, max_delay=60)
    call_with_both(url)


@many(30)
@given(value=headers, date=headers)
def test_nothing_in_a_header_breaks_a_call(
    asked: tuple[str, list[str]], value: str, date: str
) -> None:
    """The same holds for any value that a header can hold."""
    url, said = asked
    said[:] = [value, date]
    Circuit.objects.all().delete()
    runtime.forget()
    CircuitFactory(name="payments", respect_retry_after=True, max_delay=60)
    call_with_both(url)


def call_with_both(url: str) -> None:
    """Call with requests and with httpx, and check that the delay is bounded."""
    for call in (circuits.call, async_to_sync(circuits.acall)):
        with pytest.raises(RemoteCallFailedException):
            call("payments", url)
    row = Circuit.objects.get()
    assert row.total_failures >= 1
    assert row.last_error.startswith("HTTP 503 from http://127.0.0.1")
    if row.state == "open":
        assert row.retry_at is not None
        assert row.opened_at is not None
        assert 0 <= (row.retry_at - row.opened_at).total_seconds() <= 60


@many(30)
@given(kind=texts, message=texts)
def test_any_exception_leaves_one_line_on_any_database(kind: str, message: str) -> None:
    """A class name and a message of any text are kept and shown as one printable line."""
    # Python allows no NUL in the name of a class.
    error = type(encodable(kind).replace("\0", ""), (Exception,), {})
    Circuit.objects.all().delete()
    runtime.forget()
    with suppress(error), circuits.guard("payments"):
        raise error(message)
    row = Circuit.objects.get()
    assert row.total_failures == 1
    assert not any(letter in row.last_error for letter in "\0\n\r\x1b\u2028")


@many(30)
@given(actor=texts, said=texts)
@example(actor="a" * 151, said="w" * 501)
@example(actor="\0", said="\ud800")
def test_whoever_steers_a_circuit_is_kept_as_far_as_there_is_room(actor: str, said: str) -> None:
    """Code may pass on any text of its users, however long and odd, and still steer the circuit."""
    Circuit.objects.all().delete()
    runtime.forget()
    CircuitFactory(name="payments")
    assert circuits.get("payments").force_open(actor=actor, reason=said)
    kept = Transition.objects.get()
    assert len(kept.actor) <= 150
    assert len(kept.detail) <= 500
