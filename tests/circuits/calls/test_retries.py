"""Retries within the budget, by those that make them: tenacity, stamina, urllib3 and Celery."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import requests
import stamina
import tenacity
import urllib3
from celery import Celery
from celery.exceptions import MaxRetriesExceededError, Retry
from requests.adapters import HTTPAdapter

import circuits
from circuits.calls.celery import CircuitTask
from circuits.core.budget import FLOOR
from circuits.models import Circuit
from circuits.process.threads import in_thread
from tests.factories import CircuitFactory
from tests.remotes import Remote, Request, answer, remote_that

pytestmark = pytest.mark.usefixtures("_patient")

#: How many retries each call may have.
RETRIES = 3


class Flaky:
    """Fails with an error as often as it is called."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        raise self.error


@pytest.fixture
def _patient(committed: None) -> None:
    """Let nothing open the circuit, and no call add to its budget."""
    CircuitFactory.create(name="payments", threshold=1_000, retry_share=0)


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    with stamina.set_testing(True, attempts=RETRIES + 1):
        yield


def by_tenacity(work: Callable[[], None], predicate: Callable[[BaseException], bool]) -> None:
    tenacity.Retrying(
        retry=tenacity.retry_if_exception(predicate),
        stop=tenacity.stop_after_attempt(RETRIES + 1),
        reraise=True,
    )(work)


def by_stamina(work: Callable[[], None], predicate: Callable[[BaseException], bool]) -> None:
    stamina.retry(on=predicate)(work)()


WAYS = pytest.mark.parametrize("retry", [by_tenacity, by_stamina])


def spend_all() -> None:
    while circuits.may_retry("payments"):
        pass


# By a predicate on the exception


@WAYS
def test_a_call_is_retried_while_the_budget_lasts(retry: Any) -> None:
    remote = Flaky(ConnectionError("down"))
    for _ in range(FLOOR):
        with pytest.raises(ConnectionError):
            retry(remote, circuits.retry_within("payments"))
    # Both ask after the last attempt too, so a call of four attempts counts four retries.
    assert remote.calls == FLOOR + (RETRIES + RETRIES + 2)


@WAYS
def test_a_refused_call_is_not_retried(retry: Any) -> None:
    circuits.get("payments").force_open()
    made: list[str] = []

    def work() -> None:
        made.append("asked")
        circuits.call("payments", "http://127.0.0.1:1")

    with pytest.raises(circuits.CircuitOpenError):
        retry(work, circuits.retry_within("payments"))
    assert made == ["asked"]
    assert sum(circuits.may_retry("payments") for _ in range(50)) == FLOOR, "nothing was counted"


@WAYS
@pytest.mark.parametrize(
    ("error", "options"),
    [
        (KeyError("a bug"), {"exceptions": OSError}),
        (ConnectionError("an answer"), {"exclude": ConnectionError}),
        (requests.exceptions.InvalidURL("no host"), {}),
        (KeyboardInterrupt(), {}),
    ],
)
def test_what_is_no_failure_is_not_retried(
    retry: Any, error: BaseException, options: dict[str, Any]
) -> None:
    remote = Flaky(error)
    with pytest.raises(type(error)):
        retry(remote, circuits.retry_within("payments", **options))
    assert remote.calls == 1
    assert sum(circuits.may_retry("payments") for _ in range(50)) == FLOOR


@WAYS
def test_nothing_is_retried_once_the_budget_is_spent(retry: Any) -> None:
    spend_all()
    remote = Flaky(ConnectionError("down"))
    with pytest.raises(ConnectionError):
        retry(remote, circuits.retry_within("payments"))
    assert remote.calls == 1


@WAYS
def test_the_failures_of_call_are_retried(retry: Any, remote: str) -> None:
    made: list[str] = []

    def work() -> None:
        made.append("asked")
        circuits.call("payments", f"{remote}/faulty")

    with pytest.raises(circuits.RemoteCallFailedException, match="500"):
        retry(work, circuits.retry_within("payments"))
    assert len(made) == RETRIES + 1


async def test_async_calls_by_httpx_are_retried_for_a_failure_and_not_for_an_answer() -> None:
    def reply(request: Request) -> bytes:
        return answer(404 if request.target == "/nowhere" else 503)

    @tenacity.retry(
        retry=tenacity.retry_if_exception(circuits.retry_within("payments")),
        stop=tenacity.stop_after_attempt(RETRIES + 1),
        reraise=True,
    )
    async def get(url: str) -> None:
        transport = circuits.AsyncCircuitTransport(name="payments")
        async with httpx.AsyncClient(transport=transport) as client:
            (await client.get(url)).raise_for_status()

    with remote_that(reply) as remote:
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            await get(f"{remote.url}/down")
        assert len(remote.requests) == RETRIES + 1
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            await get(f"{remote.url}/nowhere")
        assert len(remote.requests) == RETRIES + 2


async def test_stamina_retries_async_functions_by_it() -> None:
    remote = Flaky(ConnectionError("down"))

    @stamina.retry(on=circuits.retry_within("payments"))
    async def charge() -> None:
        async with circuits.guard("payments"):
            remote()

    with pytest.raises(ConnectionError):
        await charge()
    assert remote.calls == RETRIES + 1


async def test_in_an_event_loop_a_process_that_has_made_no_call_asks_no_database() -> None:
    assert circuits.may_retry("unheard of")
    assert not await in_thread(Circuit.objects.filter(name="unheard of").exists)


def test_the_predicate_can_be_sent_to_another_process() -> None:
    predicate = pickle.loads(pickle.dumps(circuits.retry_within("payments")))
    assert predicate(ConnectionError("down"))


def test_what_names_no_exception_is_refused() -> None:
    with pytest.raises(circuits.InvalidInputError, match="Name exceptions"):
        circuits.retry_within("payments", exceptions=("OSError",))  # type: ignore[arg-type]


# By urllib3


@contextmanager
def down() -> Iterator[Remote]:
    with remote_that(lambda request: answer(503)) as remote:
        yield remote


def budgeted(**options: Any) -> circuits.BudgetedRetry:
    return circuits.BudgetedRetry("payments", RETRIES, status_forcelist=[503], **options)


def test_urllib3_retries_while_the_budget_lasts() -> None:
    with down() as remote, urllib3.PoolManager(retries=budgeted()) as pool:
        for _ in range(FLOOR):
            with pytest.raises(urllib3.exceptions.MaxRetryError, match="503"):
                pool.request("GET", remote.url)
        assert len(remote.requests) == FLOOR + FLOOR, "each retry counts once"


def test_the_last_retry_is_told_of_as_urllib3_does() -> None:
    down_now, pool = urllib3.exceptions.ProtocolError("down"), urllib3.HTTPConnectionPool("host")
    left = budgeted().increment("GET", "/charge", error=down_now)
    assert (left.name, left.total) == ("payments", RETRIES - 1)
    assert [(each.method, each.url, each.error) for each in left.history] == [
        ("GET", "/charge", down_now)
    ]
    with pytest.raises(urllib3.exceptions.MaxRetryError) as used_up:
        circuits.BudgetedRetry("payments", 0).increment("GET", "/charge", None, down_now, pool)
    assert (used_up.value.url, used_up.value.reason) == ("/charge", down_now)
    spend_all()
    with pytest.raises(urllib3.exceptions.MaxRetryError) as gave_up:
        budgeted().increment("GET", "/charge", None, down_now, pool)
    assert (gave_up.value.url, gave_up.value.pool) == ("/charge", pool)
    assert gave_up.value.reason is gave_up.value.__cause__ is down_now


def test_a_connection_error_ends_as_if_the_retries_were_used_up() -> None:
    spend_all()
    with urllib3.PoolManager(retries=budgeted()) as pool:
        with pytest.raises(urllib3.exceptions.MaxRetryError) as gave_up:
            pool.request("GET", "http://127.0.0.1:1/")
        assert isinstance(gave_up.value.reason, urllib3.exceptions.NewConnectionError)
        assert gave_up.value.url == "/"
        assert gave_up.value.pool is not None


def test_the_last_answer_is_returned_if_statuses_are_not_raised() -> None:
    spend_all()
    with down() as remote, urllib3.PoolManager(retries=budgeted(raise_on_status=False)) as pool:
        assert pool.request("GET", remote.url).status == 503
        assert len(remote.requests) == 1


def test_a_redirect_is_no_retry() -> None:
    def reply(request: Request) -> bytes:
        return answer() if request.target == "/end" else answer(302, Location="/end")

    spend_all()
    with remote_that(reply) as remote, urllib3.PoolManager(retries=budgeted()) as pool:
        assert pool.request("GET", remote.url).status == 200


def test_requests_retries_by_it_inside_a_call_through_the_circuit() -> None:
    session = requests.Session()
    inner = HTTPAdapter(max_retries=budgeted())
    session.mount("http://", circuits.CircuitAdapter("payments", adapter=inner))
    with down() as remote, session:
        with pytest.raises(requests.exceptions.RetryError):
            session.get(remote.url)
        assert len(remote.requests) == RETRIES + 1
        spend_all()
        with pytest.raises(requests.exceptions.RetryError, match="503"):
            session.get(remote.url)
        assert len(remote.requests) == RETRIES + 2
    assert Circuit.objects.get(name="payments").total_failures == 2


def test_a_copy_and_a_pickle_of_it_keep_their_circuit() -> None:
    copy = pickle.loads(pickle.dumps(budgeted().new(total=7)))
    assert (copy.name, copy.total, copy.status_forcelist) == ("payments", 7, [503])
    spend_all()
    with pytest.raises(urllib3.exceptions.MaxRetryError):
        copy.increment("GET", "/", error=ConnectionError("down"))


# By Celery


@contextmanager
def running(**options: Any) -> Iterator[Any]:
    """Yield a task that fails, as if a worker ran it."""
    app = Celery("budget", broker="memory://", backend="cache+memory://", set_as_current=False)

    def charge(self: Any) -> None:
        raise ConnectionError("down")

    register: Any = app.task(
        **{
            "base": CircuitTask,
            "circuit": "payments",
            "circuit_retries_within_budget": True,
            "shared": False,
            "bind": True,
            **options,
        }
    )
    yield register(charge)


def attempt(task: Any, retries: int = 0) -> Any:
    task.push_request(called_directly=False, is_eager=False, retries=retries, id="1")
    try:
        return task()
    finally:
        task.pop_request()


AUTO: dict[str, Any] = {"autoretry_for": (ConnectionError,), "max_retries": RETRIES}


def test_a_task_retries_while_the_budget_lasts() -> None:
    with running(**AUTO) as charge:
        for _ in range(FLOOR):
            with pytest.raises(Retry):
                attempt(charge)
        # As if it had used up its retries.
        with pytest.raises(ConnectionError):
            attempt(charge)
        assert not hasattr(charge, "override_max_retries"), "it would hold for the next task too"
    assert Circuit.objects.get(name="payments").total_failures == FLOOR + 1


def test_a_task_that_has_used_up_its_retries_asks_for_none() -> None:
    with running(**AUTO) as charge, pytest.raises(ConnectionError):
        attempt(charge, retries=RETRIES)
    assert sum(circuits.may_retry("payments") for _ in range(50)) == FLOOR


def test_a_task_without_the_option_knows_no_budget() -> None:
    spend_all()
    with running(**AUTO, circuit_retries_within_budget=False) as charge, pytest.raises(Retry):
        attempt(charge)


def test_a_task_that_polls_and_one_that_waits_need_no_budget() -> None:
    spend_all()
    with running(max_retries=RETRIES) as charge:
        charge.push_request(called_directly=False, is_eager=False, retries=0, id="1")
        with pytest.raises(Retry):
            charge.retry(countdown=0)
        charge.pop_request()
        circuits.get("payments").force_open()
        with pytest.raises(Retry):
            attempt(charge)


def test_a_task_that_retries_by_itself_without_naming_the_failure_raises_it() -> None:
    spend_all()
    with running(max_retries=RETRIES) as charge:
        charge.push_request(called_directly=False, is_eager=False, retries=0, id="1")
        try:
            raise ConnectionError("down")
        except ConnectionError:
            with pytest.raises(ConnectionError):
                charge.retry()
        with pytest.raises(MaxRetriesExceededError):
            charge.retry(max_retries=0)
        charge.pop_request()


def test_the_decorator_takes_the_option() -> None:
    @circuits.circuit_task("payments", name="tests.budget", retries_within_budget=True, **AUTO)
    def charge() -> None:
        raise ConnectionError("down")

    spend_all()
    with pytest.raises(ConnectionError):
        charge.apply(throw=True)


def test_a_task_called_directly_cannot_be_retried_and_asks_for_nothing() -> None:
    with running(**AUTO) as charge, pytest.raises(ConnectionError):
        charge()
    assert sum(circuits.may_retry("payments") for _ in range(50)) == FLOOR
