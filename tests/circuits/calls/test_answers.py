"""How an answer counts: by ``is_failure``, and by a ``Retry-After`` if the policy heeds it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time
from typing import Any, ClassVar
from urllib.parse import quote, unquote
from urllib.request import urlopen
from zoneinfo import ZoneInfo

import httpx
import pytest
import requests
import time_machine
from hypothesis import given
from hypothesis import strategies as st

import circuits
from circuits.calls.answers import seconds_to_wait
from circuits.models import Circuit
from tests.factories import CircuitFactory
from tests.remotes import answer, remote_that

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 2.5 ", 2.5),
        ("0.001", 0.001),
        ("Wed, 21 Oct 2026 07:29:30 GMT", 90),
        ("Wed, 21 Oct 2026 07:29:30", 90),
        ("Wed, 21 Oct 2026 07:29:30 -0000", 90),
        ("Wed, 21 Oct 2026 09:29:30 +0200", 90),
        ("Wednesday, 21-Oct-26 07:29:30 GMT", 90),
        ("Wed Oct 21 07:29:30 2026", 90),
        ("Wed Nov  4 07:28:00 2026", 14 * 24 * 3600),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 07:00:00 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("", None),
        ("0", None),
        ("0.0", None),
        ("-5", None),
        ("1.", None),
        (".5", None),
        ("1_0", None),
        ("9e999", None),
        ("9" * 400, None),
        ("soon", None),
        ("٣", None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_it_is_seconds_or_a_date_in_gmt_wherever_we_are(
    value: str, seconds: float | None, zone: str
) -> None:
    with time_machine.travel(datetime(2026, 10, 21, 7, 28, tzinfo=ZoneInfo(zone))):
        assert seconds_to_wait({"Retry-After": value, "Date": DATE}, time) == seconds


@pytest.mark.parametrize("date", ["Wed Oct 21 07:28:00 2026", "Wed, 21 Oct 2026 07:28:00"])
def test_the_remotes_date_is_in_gmt_too(date: str) -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:29:30 GMT", "Date": date}
    with time_machine.travel(datetime(2026, 10, 21, 7, 28, tzinfo=ZoneInfo("America/New_York"))):
        assert seconds_to_wait(headers, time) == 90


def test_a_date_is_compared_with_the_remotes_own_so_our_clock_may_be_wrong() -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:29:30 GMT", "Date": DATE}
    with time_machine.travel("2031-01-01"):
        assert seconds_to_wait(headers, time) == 90


@given(st.text(max_size=60), st.text(max_size=60))
def test_nothing_in_a_header_breaks_it(value: str, date: str) -> None:
    seconds = seconds_to_wait({"Retry-After": value, "Date": date}, time)
    assert seconds is None or 0 < seconds < float("inf")


# On a circuit


class Handler(BaseHTTPRequestHandler):
    """Answers ``/STATUS/RETRY_AFTER``; with ``?dateless``, the answer has no ``Date``."""

    protocol_version = "HTTP/1.1"
    hits: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.hits.append(self.path)
        path, _, query = self.path.partition("?")
        _, status, retry_after = path.split("/")
        (self.send_response_only if query == "dateless" else self.send_response)(int(status))
        if retry_after:
            self.send_header("Retry-After", unquote(retry_after))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def asking() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    Handler.hits.clear()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def wait_of(name: str) -> float:
    circuit = Circuit.objects.get(name=name)
    assert circuit.state == "open"
    assert circuit.retry_at is not None
    assert circuit.state_changed_at is not None
    return (circuit.retry_at - circuit.state_changed_at).total_seconds()


@pytest.mark.usefixtures("committed")
class TestACircuit:
    def circuit(self, **policy: Any) -> str:
        return CircuitFactory.create(**{"respect_retry_after": True, **policy}).name

    def test_a_503_that_asks_to_wait_opens_for_that_long(self, asking: str) -> None:
        name = self.circuit()
        with pytest.raises(circuits.RemoteCallFailedException, match="HTTP 503"):
            circuits.call(name, f"{asking}/503/45")
        assert wait_of(name) == pytest.approx(45)
        with pytest.raises(circuits.CircuitOpenError) as refused:
            circuits.call(name, f"{asking}/200/")
        assert 40 < refused.value.retry_after <= 45
        assert Handler.hits == ["/503/45"]
        transition = Circuit.objects.get(name=name).transitions.get()
        assert transition.reason == "retry_after"
        assert transition.detail == f"HTTP 503 from {asking}/503/45"

    @pytest.mark.parametrize("nothing", ["0", "Thu, 01 Jan 1970 00:00:00 GMT"])
    def test_where_it_asks_for_no_time_the_count_decides(self, asking: str, nothing: str) -> None:
        name = self.circuit(threshold=5)
        for count in range(1, 6):
            with pytest.raises(circuits.RemoteCallFailedException):
                circuits.call(name, f"{asking}/503/{quote(nothing)}")
            assert Circuit.objects.get(name=name).failure_count == count
        assert Circuit.objects.get(name=name).transitions.get().reason == "failures"

    def test_a_429_that_asks_for_no_time_is_an_answer(self, asking: str) -> None:
        name = self.circuit(expired=True)
        circuits.call(name, f"{asking}/429/0")
        assert Circuit.objects.get(name=name).state == "closed"

    def test_a_429_is_still_an_answer_but_opens_too(self, asking: str) -> None:
        name = self.circuit()
        assert circuits.call(name, f"{asking}/429/45").status_code == 429
        assert wait_of(name) == pytest.approx(45)

    async def test_async_calls_heed_it_too(self, asking: str) -> None:
        await Circuit.objects.acreate(name="async", respect_retry_after=True)
        response = await circuits.acall("async", f"{asking}/429/45")
        assert response.status_code == 429
        with pytest.raises(circuits.CircuitOpenError):
            await circuits.acall("async", f"{asking}/200/")

    @pytest.mark.parametrize(
        "get",
        [
            lambda url: requests.get(url, timeout=5).raise_for_status(),
            lambda url: httpx.get(url).raise_for_status(),
            lambda url: urlopen(url, timeout=5).close(),
        ],
        ids=["requests", "httpx", "urllib"],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_an_answer_that_is_raised_is_heeded_alike(
        self, asking: str, get: Callable[[str], None], status: int
    ) -> None:
        name = self.circuit()
        with pytest.raises(Exception, match=f"{status}"), circuits.guard(name):
            get(f"{asking}/{status}/45")
        assert wait_of(name) == pytest.approx(45)

    async def test_async_an_answer_that_is_raised_is_heeded_alike(self, asking: str) -> None:
        await Circuit.objects.acreate(name="async", respect_retry_after=True)

        @circuits.protect("async")
        async def ask() -> None:
            async with httpx.AsyncClient() as client:
                (await client.get(f"{asking}/429/45")).raise_for_status()

        with pytest.raises(httpx.HTTPStatusError):
            await ask()
        with pytest.raises(circuits.CircuitOpenError, match=r"Retry after 4"):
            await ask()

    def test_what_is_raised_for_another_status_or_by_another_policy_asks_for_nothing(
        self, asking: str
    ) -> None:
        heeding, other = self.circuit(), self.circuit(respect_retry_after=False)
        for name, status in [(heeding, 500), (heeding, 404), (other, 503)]:
            with pytest.raises(requests.HTTPError), circuits.guard(name):
                requests.get(f"{asking}/{status}/45", timeout=5).raise_for_status()
            assert Circuit.objects.get(name=name).state == "closed"

    def test_it_is_capped_by_the_longest_delay(self, asking: str) -> None:
        name = self.circuit(max_delay=60)
        circuits.call(name, f"{asking}/429/99999999999999999999")
        assert wait_of(name) == pytest.approx(60)

    def test_it_is_switched_off_by_default(self, asking: str) -> None:
        name = CircuitFactory.create().name
        for _ in range(10):
            circuits.call(name, f"{asking}/429/45")
        with pytest.raises(circuits.RemoteCallFailedException):
            circuits.call(name, f"{asking}/503/45")
        assert Circuit.objects.get(name=name).state == "closed"

    @pytest.mark.parametrize("path", ["500/45", "503/", "503/soon"])
    def test_other_statuses_and_headers_do_not_open_at_once(self, asking: str, path: str) -> None:
        name = self.circuit()
        with pytest.raises(circuits.RemoteCallFailedException):
            circuits.call(name, f"{asking}/{path}")
        assert Circuit.objects.get(name=name).state == "closed"

    def test_a_trial_that_is_asked_to_wait_reopens_for_the_longer_of_both(
        self, asking: str
    ) -> None:
        name = self.circuit(expired=True, delay=20)
        with pytest.raises(circuits.RemoteCallFailedException):
            circuits.call(name, f"{asking}/503/45")
        assert wait_of(name) == pytest.approx(45)
        brief = self.circuit(expired=True, delay=20)
        with pytest.raises(circuits.RemoteCallFailedException):
            circuits.call(brief, f"{asking}/503/5")
        assert wait_of(brief) == pytest.approx(20)

    def test_forced_closed_never_trips_by_it(self, asking: str) -> None:
        name = self.circuit(mode="forced_closed")
        for _ in range(3):
            circuits.call(name, f"{asking}/429/45")
        assert Circuit.objects.get(name=name).state == "closed"

    @pytest.mark.parametrize("hours", [-1, 1], ids=["slow", "fast"])
    def test_a_date_of_a_remote_without_a_clock_is_compared_with_the_databases(
        self, asking: str, hours: int
    ) -> None:
        name = self.circuit(max_delay=3600)
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
            circuits.call(name, f"{asking}/429/{quote(until)}?dateless")
        assert wait_of(name) == pytest.approx(60, abs=5)


# is_failure


def run(result: Any) -> Any:
    """Return the result of a call, async or not."""
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def with_call(url: str, is_failure: Any) -> Any:
    return circuits.call("payments", url, is_failure=is_failure)


async def with_acall(url: str, is_failure: Any) -> Any:
    return await circuits.acall("payments", url, is_failure=is_failure)


def with_an_adapter(url: str, is_failure: Any) -> Any:
    with requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter("payments", is_failure=is_failure))
        return session.get(url)


def with_a_transport(url: str, is_failure: Any) -> Any:
    transport = circuits.CircuitTransport(name="payments", is_failure=is_failure)
    with httpx.Client(transport=transport) as client:
        return client.get(url)


async def with_an_async_transport(url: str, is_failure: Any) -> Any:
    transport = circuits.AsyncCircuitTransport(name="payments", is_failure=is_failure)
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.get(url)


SYNC = [with_call, with_an_adapter, with_a_transport]
ASYNC = [with_acall, with_an_async_transport]


def says_bad(response: Any) -> bool:
    is_bad: bool = response.json()["bad"]
    return is_bad


async def says_bad_later(response: Any) -> bool:
    await asyncio.sleep(0)
    return says_bad(response)


def failures() -> int:
    circuits.flush()
    return Circuit.objects.get(name="payments").total_failures


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize(
    ("ask", "is_failure"),
    [*((ask, says_bad) for ask in [*SYNC, *ASYNC]), *((ask, says_bad_later) for ask in ASYNC)],
)
@pytest.mark.parametrize("coding", [{}, {"Content_Encoding": "gzip"}], ids=["plain", "gzip"])
def test_is_failure_may_read_the_body_and_be_async_for_async_calls(
    ask: Callable[[str, Any], Any], is_failure: Any, coding: dict[str, str]
) -> None:
    def body(text: bytes) -> bytes:
        return gzip.compress(text) if coding else text

    with remote_that(answer(500, body(b'{"bad": false}'), **coding)) as remote:
        assert run(ask(remote.url, is_failure)).json() == {"bad": False}
    assert failures() == 0
    with (
        remote_that(answer(200, body(b'{"bad": true}'), **coding)) as remote,
        suppress(circuits.RemoteCallFailedException),
    ):
        assert run(ask(remote.url, is_failure)).json() == {"bad": True}
    assert failures() == 1


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("ask", [*SYNC, *ASYNC])
def test_is_failure_must_say_something(ask: Callable[[str, Any], Any]) -> None:
    CircuitFactory(name="payments", expired=True)
    with (
        remote_that(answer()) as remote,
        pytest.raises(
            circuits.InvalidInputError, match=r"^is_failure must return true or false, not None\.$"
        ),
    ):
        run(ask(remote.url, lambda response: None))
    row = Circuit.objects.get()
    assert (row.state, row.leases) == ("half_open", [])


REFUSED = (
    r"^is_failure must return true or false, not an awaitable; only acall and "
    r"AsyncCircuitTransport take an async one\.$"
)


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("ask", SYNC)
def test_an_async_is_failure_is_refused_where_nobody_awaits_it(
    ask: Callable[[str, Any], Any],
) -> None:
    CircuitFactory(name="payments", expired=True)
    with (
        remote_that(answer()) as remote,
        pytest.raises(circuits.InvalidInputError, match=REFUSED),
    ):
        ask(remote.url, says_bad_later)
    row = Circuit.objects.get()
    assert (row.state, row.leases) == ("half_open", [])


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("is_failure", [says_bad, says_bad_later])
def test_an_answer_that_is_failure_has_read_can_be_streamed(is_failure: Any) -> None:
    packed = gzip.compress(b'{"bad": false}')

    async def stream(url: str) -> tuple[bytes, bytes]:
        transport = circuits.AsyncCircuitTransport(name="payments", is_failure=is_failure)
        async with httpx.AsyncClient(transport=transport) as client:
            async with client.stream("GET", url) as response:
                raw = b"".join([part async for part in response.aiter_raw()])
            async with client.stream("GET", url) as response:
                text = b"".join([part async for part in response.aiter_bytes()])
            return raw, text

    with remote_that(answer(200, packed, Content_Encoding="gzip")) as remote:
        assert asyncio.run(stream(remote.url)) == (packed, b'{"bad": false}')
    assert (failures(), Circuit.objects.get().total_successes) == (0, 2)


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("ask", [with_a_transport, with_an_async_transport])
def test_what_is_failure_reads_and_what_the_caller_gets_is_the_answer_as_it_came(
    ask: Callable[[str, Any], Any],
) -> None:
    reply = (
        b"HTTP/1.1 201 Well done\r\nX-Code: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n"
    )
    seen: list[httpx.Response] = []

    def is_failure(response: httpx.Response) -> bool:
        assert response.text == "first second"
        seen.append(response)
        return False

    with remote_that(lambda request: reply) as remote:
        seen.append(run(ask(f"{remote.url}/path", is_failure)))
    for each in seen:
        assert (each.text, each.status_code, each.headers["X-Code"]) == ("first second", 201, "7")
        assert (each.http_version, each.reason_phrase) == ("HTTP/1.1", "Well done")
        assert each.url == f"{remote.url}/path"
    assert failures() == 0
