"""``Retry-After``: how it is read, and what it does to a circuit that heeds it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
import time_machine
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

import circuits
from circuits.answers import seconds_to_wait
from circuits.models import Circuit
from tests.factories import CircuitFactory

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Wed, 21 Oct 2026 07:29:30 GMT", 90),
        ("Wed, 21 Oct 2026 07:00:00 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("9e999", None),
        ("soon", None),
        ("٣", None),
    ],
)
def test_it_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert seconds_to_wait({"Retry-After": value, "Date": DATE}) == seconds


def test_a_date_is_compared_with_the_remotes_own_so_our_clock_may_be_wrong() -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:29:30 GMT", "Date": DATE}
    with time_machine.travel("2031-01-01"):
        assert seconds_to_wait(headers) == 90


def test_without_a_date_of_the_remote_ours_is_used() -> None:
    until = timezone.now() + timedelta(seconds=60)
    value = format_datetime(until, usegmt=True)
    assert seconds_to_wait({"Retry-After": value}) == pytest.approx(60, abs=3)


@given(st.text(max_size=60), st.text(max_size=60))
def test_nothing_in_a_header_breaks_it(value: str, date: str) -> None:
    seconds = seconds_to_wait({"Retry-After": value, "Date": date})
    assert seconds is None or 0 <= seconds < float("inf")


# On a circuit


class Handler(BaseHTTPRequestHandler):
    """Answers ``/STATUS/RETRY_AFTER``."""

    protocol_version = "HTTP/1.1"
    hits: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.hits.append(self.path)
        _, status, retry_after = self.path.split("/")
        self.send_response(int(status))
        if retry_after:
            self.send_header("Retry-After", retry_after)
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

    def test_a_429_is_still_an_answer_but_opens_too(self, asking: str) -> None:
        name = self.circuit()
        assert circuits.call(name, f"{asking}/429/45").status_code == 429
        assert wait_of(name) == pytest.approx(45)

    async def test_async_calls_heed_it_too(self, asking: str) -> None:
        await Circuit.objects.acreate(name="async", respect_retry_after=True)
        answer = await circuits.acall("async", f"{asking}/429/45")
        assert answer.status_code == 429
        with pytest.raises(circuits.CircuitOpenError):
            await circuits.acall("async", f"{asking}/200/")

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
