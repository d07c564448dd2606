"""``circuits.acall``: an HTTP request with httpx through a circuit, which blocks no event loop."""

from __future__ import annotations

import asyncio
import gc
import re
from asyncio import CancelledError, Task
from collections.abc import Callable
from threading import Event, get_ident
from typing import Any

import httpx
import pytest
from pytest_django import Settings

import circuits
from circuits.models import Circuit
from circuits.process import runtime, threads
from circuits.process.threads import in_thread
from circuits.storage.contract import Snapshot
from circuits.storage.database import DatabaseStore
from mockapi.hits import hits
from tests.clock import Clock
from tests.concurrency import PATIENCE, wait_until
from tests.factories import CircuitFactory
from tests.remotes import ILL, Request, answer, echo, nobody, remote_that, silent_remote

pytestmark = pytest.mark.usefixtures("committed")


async def row() -> Any:
    return await in_thread(lambda: Circuit.objects.get(name="payments"))


async def make(**fields: Any) -> None:
    await in_thread(lambda: CircuitFactory(name="payments", **fields))


async def failure(url: str, **how: Any) -> circuits.RemoteCallFailedException:
    """Make a call that must fail, and return the exception."""
    with pytest.raises(circuits.RemoteCallFailedException) as failed:
        await circuits.acall("payments", url, **how)
    assert type(failed.value) is circuits.RemoteCallFailedException
    return failed.value


def unwanted(error: circuits.RemoteCallFailedException) -> None:
    """Fail the test: this is a fallback that must not be called."""
    raise AssertionError("the fallback was called")


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until a condition holds."""
    await asyncio.to_thread(wait_until, condition)


# What is asked and answered


async def test_the_answer_is_returned(remote: str) -> None:
    response = await circuits.acall("payments", f"{remote}/success")
    assert isinstance(response, httpx.Response)
    assert response.json() == {"status": "ok", "method": "GET"}


async def test_what_httpx_takes_is_passed_through() -> None:
    with remote_that(echo) as remote:
        response = await circuits.acall(
            "payments",
            f"{remote.url}/path",
            method="PUT",
            headers={"X-Tenant": "acme"},
            params={"b": 2},
            json={"amount": 3},
        )
    asked = response.json()
    assert (asked["method"], asked["target"]) == ("PUT", "/path?b=2")
    assert asked["body"].replace(" ", "") == '{"amount":3}'
    assert asked["headers"]["x-tenant"] == "acme"


async def test_space_around_the_url_is_not_asked_for(remote: str) -> None:
    response = await circuits.acall("payments", f" {remote}/success\u3000")
    assert response.status_code == 200


async def test_a_redirect_is_followed() -> None:
    def reply(request: Request) -> bytes:
        return answer(302, Location="/there") if request.target == "/here" else answer(204)

    with remote_that(reply) as remote:
        response = await circuits.acall("payments", f"{remote.url}/here")
    assert response.status_code == 204


async def test_a_redirect_to_another_scheme_is_not_followed() -> None:
    with (
        remote_that(answer()) as other,
        remote_that(answer(302, Location=other.url.replace("http", "ftp"))) as remote,
        pytest.raises(httpx.UnsupportedProtocol),
    ):
        await circuits.acall("payments", remote.url)
    assert other.connections == 0
    assert (await row()).total_failures == 0


# Failures


@pytest.mark.parametrize("status", [500, 503, 599])
async def test_a_server_error_is_a_failure(status: int) -> None:
    with remote_that(answer(status)) as remote:
        error = await failure(f"{remote.url}/path")
    assert error.name == "payments"
    assert error.response.status_code == status
    assert isinstance(error.__cause__, httpx.HTTPStatusError)
    assert error.__cause__.response is error.response
    assert error.__cause__.request.url == f"{remote.url}/path"
    assert str(error.__cause__) == f"HTTP {status} from {remote.url}/path"
    assert str(error) == f"The call to payments failed: HTTP {status} from {remote.url}/path"
    counted = await row()
    assert (counted.failure_count, counted.total_failures) == (1, 1)
    assert counted.last_error == f"HTTP {status} from {remote.url}/path"


@pytest.mark.parametrize("status", [400, 404, 429])
async def test_a_client_error_is_an_answer(status: int) -> None:
    await make(failure_count=1)
    with remote_that(answer(status)) as remote:
        response = await circuits.acall("payments", remote.url)
    assert response.status_code == status
    counted = await row()
    assert (counted.failure_count, counted.total_failures) == (0, 0), "it counts as a success"


async def test_the_failure_statuses_can_be_chosen(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FAILURE_STATUSES": [429]}
    with remote_that(answer(429)) as remote:
        assert (await failure(remote.url)).response.status_code == 429


async def test_a_refused_connection_is_a_failure() -> None:
    with nobody() as url:
        error = await failure(url)
    assert isinstance(error.__cause__, httpx.ConnectError)
    assert (error.name, error.response) == ("payments", None)
    assert str(error).startswith("The call to payments failed: ConnectError: ")
    assert (await row()).total_failures == 1
    assert (await row()).last_error.startswith("ConnectError: ")


@pytest.mark.parametrize("illness", ILL)
async def test_an_answer_that_breaks_off_or_is_garbled_is_a_failure(illness: str) -> None:
    with remote_that(ILL[illness], stays=False) as remote:
        error = await failure(remote.url)
    assert isinstance(error.__cause__, (httpx.TransportError, httpx.DecodingError))
    assert (await row()).total_failures == 1


async def test_the_circuits_own_timeout_is_the_default() -> None:
    await make(timeout=0.05)
    with silent_remote() as remote:
        async with asyncio.timeout(5):
            error = await failure(remote.url)
    assert isinstance(error.__cause__, httpx.TimeoutException)
    assert (await row()).total_failures == 1


async def test_the_calls_own_timeout_wins() -> None:
    await make(timeout=3600)
    with silent_remote() as remote:
        error = await failure(remote.url, timeout=0.05)
    assert isinstance(error.__cause__, httpx.TimeoutException)


@pytest.mark.parametrize(
    ("own", "given"),
    [
        (300, (None, 0.05)),
        (300, (3, 0.05, 5, 5)),
        (300, httpx.Timeout(5, read=0.05)),
        (0.05, (3, None)),
    ],
)
async def test_the_timeout_may_have_parts_and_the_circuits_own_is_that_of_the_others(
    own: float, given: Any
) -> None:
    await make(timeout=own)
    with silent_remote() as remote:
        async with asyncio.timeout(5):
            error = await failure(remote.url, timeout=given)
    assert isinstance(error.__cause__, httpx.ReadTimeout)


async def test_each_part_of_the_timeout_has_an_end() -> None:
    await make(timeout=7)
    asked: list[Any] = []

    class Auth(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Any:
            asked.append(request.extensions["timeout"])
            yield request

    with remote_that(answer()) as remote:
        for timeout in (None, 2, (None, 3), (1, 2, 3, None), httpx.Timeout(None, connect=4)):
            await circuits.acall("payments", remote.url, timeout=timeout, auth=Auth())
    parts = ("connect", "read", "write", "pool")
    assert [tuple(each[part] for part in parts) for each in asked] == [
        (7, 7, 7, 7),
        (2, 2, 2, 2),
        (7, 3, 7, 7),
        (1, 2, 3, 7),
        (4, 7, 7, 7),
    ]


@pytest.mark.parametrize(
    "given", [{"verify": False}, {"cert": "a.pem"}, {"stream": True}, {"tomeout": 5}]
)
async def test_what_httpx_takes_for_a_client_is_refused_with_what_to_do(
    given: dict[str, Any],
) -> None:
    await make(expired=True)
    [name] = given
    with pytest.raises(
        TypeError, match=rf"^acall takes no {name}: .*circuits.AsyncCircuitTransport"
    ):
        await circuits.acall("payments", "http://127.0.0.1:1/", **given)
    assert ((await row()).state, (await row()).leases) == ("open", [])


async def test_all_that_is_refused_and_all_that_is_taken_is_named() -> None:
    given: dict[str, Any] = {"verify": False, "cert": "a.pem"}
    with pytest.raises(TypeError) as refused:
        await circuits.acall("payments", "http://127.0.0.1:1/", **given)
    begin, taken, end = re.split(r"[()]", str(refused.value))
    assert begin == "acall takes no cert, verify: it takes what httpx takes for one request "
    assert {"headers", "json", "url"} < set(taken.split(", "))
    assert sorted(taken.split(", ")) == taken.split(", ")
    assert end == (
        ". Set what belongs to a client on an httpx.AsyncClient of your own, and give that a "
        "circuits.AsyncCircuitTransport."
    )


async def test_the_calls_own_timeout_may_be_longer(remote: str) -> None:
    await make(timeout=0.01)
    response = await circuits.acall("payments", f"{remote}/slow?seconds=0.1", timeout=5)
    assert response.status_code == 200


# Mistakes of the caller

MISTAKES: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"headers": {"X-Tenant": "a\nb"}}, httpx.LocalProtocolError),
    ({"nonsense": 1}, TypeError),
]


@pytest.mark.parametrize(("how", "kind"), MISTAKES, ids=["header", "keyword"])
async def test_a_mistake_of_the_caller_goes_through_and_counts_as_nothing(
    remote: str, how: dict[str, Any], kind: type[Exception]
) -> None:
    await make(failure_count=1)
    with pytest.raises(kind):
        await circuits.acall("payments", f"{remote}/success", fallback=unwanted, **how)
    await in_thread(circuits.flush)
    counted = await row()
    assert (counted.failure_count, counted.total_failures, counted.total_successes) == (1, 0, 0)
    assert hits.snapshot()["success"] == 0


@pytest.mark.parametrize(("how", "kind"), MISTAKES, ids=["header", "keyword"])
async def test_a_mistake_of_the_caller_gives_the_place_of_a_trial_back(
    remote: str, how: dict[str, Any], kind: type[Exception]
) -> None:
    await make(expired=True)
    with pytest.raises(kind):
        await circuits.acall("payments", f"{remote}/success", **how)
    await circuits.acall("payments", f"{remote}/success")
    assert (await row()).state == "closed"


@pytest.mark.parametrize("url", ["ftp://host/", "javascript:alert(1)", "http://", "", None])
async def test_a_url_that_cannot_be_called_writes_nothing(url: Any) -> None:
    with pytest.raises(circuits.InvalidInputError, match="URL"):
        await circuits.acall("payments", url, fallback=unwanted)
    assert not await in_thread(Circuit.objects.exists)


@pytest.mark.parametrize("name", ["", "x" * 101, "pay\nments", None])
async def test_a_name_that_cannot_be_a_circuits_writes_nothing(remote: str, name: Any) -> None:
    with pytest.raises(circuits.InvalidInputError, match="name"):
        await circuits.acall(name, f"{remote}/success", fallback=unwanted)
    assert not await in_thread(Circuit.objects.exists)
    assert hits.snapshot()["success"] == 0


# Refusals and trials


async def test_a_refused_call_sends_no_request(remote: str) -> None:
    await make(opened=True)
    for _ in range(2):
        with pytest.raises(circuits.CircuitOpenError, match=r"(?m)^Retry after \d+\.\d\d secs$"):
            await circuits.acall("payments", f"{remote}/success")
    assert hits.snapshot()["success"] == 0


async def test_a_trial_that_goes_well_closes_the_circuit(remote: str) -> None:
    await make(expired=True)
    await circuits.acall("payments", f"{remote}/success")
    assert (await row()).state == "closed"


async def test_a_trial_that_fails_opens_it_again(remote: str) -> None:
    await make(expired=True)
    await failure(f"{remote}/faulty")
    assert (await row()).state == "open"


# Fallback


async def test_the_fallback_gets_the_failure_and_its_value_is_returned(remote: str) -> None:
    url = f"{remote}/faulty"
    status = await circuits.acall("payments", url, fallback=lambda error: error.response)
    assert status.status_code == 500
    assert (await row()).total_failures == 1, "the failure counts all the same"


async def test_the_fallback_may_be_a_coroutine_function(remote: str) -> None:
    async def fallback(error: circuits.RemoteCallFailedException) -> str:
        await asyncio.sleep(0)
        return f"instead of {error.name}"

    url = f"{remote}/faulty"
    assert await circuits.acall("payments", url, fallback=fallback) == "instead of payments"


async def test_the_fallback_may_return_anything_to_wait_for(remote: str) -> None:
    def fallback(error: circuits.RemoteCallFailedException) -> Task[str]:
        return asyncio.create_task(asyncio.sleep(0, "from the cache"))

    url = f"{remote}/faulty"
    assert await circuits.acall("payments", url, fallback=fallback) == "from the cache"


async def test_the_fallback_stands_in_for_a_refused_call(remote: str) -> None:
    await make(opened=True)
    url = f"{remote}/success"
    error = await circuits.acall("payments", url, fallback=lambda error: error)
    assert isinstance(error, circuits.CircuitOpenError)
    assert hits.snapshot()["success"] == 0


# Cancellation


async def test_a_trial_that_is_cancelled_gives_its_place_back(remote: str) -> None:
    await make(expired=True)
    with silent_remote() as silent:
        call = asyncio.create_task(circuits.acall("payments", silent.url))
        await until(lambda: silent.requests)
        call.cancel()
        with pytest.raises(CancelledError):
            await call
    after = await row()
    assert (after.state, after.leases, after.total_failures) == ("half_open", [], 0)
    await circuits.acall("payments", f"{remote}/success")
    assert (await row()).state == "closed"


async def test_a_call_that_is_cancelled_counts_as_nothing() -> None:
    await make(failure_count=1)
    with silent_remote() as silent, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await circuits.acall("payments", silent.url)
    await in_thread(circuits.flush)
    counted = await row()
    assert (counted.failure_count, counted.total_failures, counted.total_successes) == (1, 0, 0)


async def test_a_call_cancelled_while_it_waits_for_leave_gives_its_place_back(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(expired=True)
    held = Held(monkeypatch, "change")
    call = asyncio.create_task(circuits.acall("payments", f"{remote}/success"))
    await until(held.came.is_set)
    call.cancel()
    with pytest.raises(CancelledError):
        await call
    held.go.set()
    await in_thread(wait_until, lambda: Circuit.objects.get().state == "half_open")
    await in_thread(wait_until, lambda: Circuit.objects.get().leases == [])
    # This process refuses until it has taken note of the row it wrote.
    await in_thread(wait_until, lambda: _leases_known_of("payments") == ())
    assert hits.snapshot()["success"] == 0
    await circuits.acall("payments", f"{remote}/success")
    assert (await row()).state == "closed"


def _leases_known_of(name: str) -> object:
    snapshot = runtime.gate(name).snapshot
    return snapshot and snapshot.status.leases


# The event loop goes on


class Held:
    """Holds up an operation of the database store until the test lets it go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
        self.came, self.go = Event(), Event()
        original = getattr(DatabaseStore, operation)

        def hold(*args: Any) -> Any:
            self.came.set()
            assert self.go.wait(PATIENCE / 6), "the event loop stands still"
            return original(*args)

        monkeypatch.setattr(DatabaseStore, operation, hold)


@pytest.mark.parametrize(
    ("operation", "circuit", "path"),
    [
        ("read", {}, "success"),
        ("count_failure", {}, "faulty"),
        ("clear_failures", {"failure_count": 1}, "success"),
        ("change", {"expired": True}, "success"),
    ],
    ids=["first call", "failure", "success after failures", "trial"],
)
async def test_other_tasks_go_on_while_the_database_is_slow(
    remote: str, monkeypatch: pytest.MonkeyPatch, operation: str, circuit: Any, path: str
) -> None:
    await make(**circuit)
    held = Held(monkeypatch, operation)
    url = f"{remote}/{path}"
    call = asyncio.create_task(circuits.acall("payments", url, fallback=lambda error: "failed"))
    await until(held.came.is_set)
    assert not call.done()
    held.go.set()
    assert await call


async def test_calls_on_a_fresh_snapshot_leave_the_database_and_its_threads_alone(
    remote: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await circuits.acall("payments", f"{remote}/success")
    monkeypatch.setattr(threads, "in_thread", None)
    for _ in range(3):
        await circuits.acall("payments", f"{remote}/success")


async def test_200_calls_at_once_make_one_row_with_one_read(
    remote: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = DatabaseStore.read
    readers: list[int] = []

    def counted(store: DatabaseStore, *args: Any) -> Snapshot:
        readers.append(get_ident())
        return read(store, *args)

    monkeypatch.setattr(DatabaseStore, "read", counted)
    with remote_that(answer()) as fast:
        calls = [circuits.acall("payments", fast.url) for _ in range(200)]
        assert {response.status_code for response in await asyncio.gather(*calls)} == {200}
    assert len(readers) == 1
    assert readers[0] != get_ident()
    await in_thread(circuits.flush)
    assert (await row()).total_successes == 200


# Connections and cookies


async def test_an_event_loop_keeps_its_connection() -> None:
    with remote_that(answer()) as remote:
        for _ in range(3):
            await circuits.acall("payments", remote.url)
        assert remote.connections == 1


async def test_20_connections_at_most_are_kept() -> None:
    came: list[Request] = []
    all_came = Event()

    def reply(request: Request) -> bytes:
        came.append(request)
        if len(came) == 30:
            all_came.set()
        assert all_came.wait(PATIENCE)
        return answer()

    with remote_that(reply) as remote:
        await asyncio.gather(*(circuits.acall("payments", remote.url) for _ in range(30)))
        assert remote.connections == 30
        await until(lambda: remote.open_connections <= 20)
        assert remote.open_connections == 20


def test_each_event_loop_has_connections_of_its_own_which_end_with_it() -> None:
    with remote_that(answer()) as remote:
        for _ in range(3):
            response = asyncio.run(circuits.acall("payments", remote.url))
            assert response.status_code == 200
        assert remote.connections == 3
        wait_until(lambda: remote.open_connections == 0)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_connections_of_a_loop_that_was_just_closed_end_with_the_next_call() -> None:
    with remote_that(answer()) as remote:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(circuits.acall("payments", remote.url))
        loop.close()
        del loop
        asyncio.run(circuits.acall("payments", remote.url))
        gc.collect()
        wait_until(lambda: remote.open_connections == 0)


async def test_a_remote_that_keeps_many_calls_waiting_holds_no_others_up(remote: str) -> None:
    with silent_remote() as silent:
        waiting = [asyncio.create_task(circuits.acall("slow", silent.url)) for _ in range(120)]
        await until(lambda: len(silent.requests) == 120)
        await circuits.acall("payments", f"{remote}/success", timeout=5)
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_cookie_set_by_one_answer_is_never_sent_with_another_call() -> None:
    with remote_that(answer(Set_Cookie="session=of somebody else")) as remote:
        for _ in range(2):
            response = await circuits.acall("payments", remote.url)
            assert "session" in response.headers["Set-Cookie"]
    assert [request.headers["Cookie"] for request in remote.requests] == [None, None]


@pytest.mark.filterwarnings("ignore:Setting per-request cookies:DeprecationWarning")
async def test_a_calls_own_cookies_are_sent_with_it_alone() -> None:
    with remote_that(answer()) as remote:
        await circuits.acall("payments", remote.url, cookies={"session": "mine"})
        await circuits.acall("payments", remote.url)
    assert [request.headers["Cookie"] for request in remote.requests] == ["session=mine", None]
