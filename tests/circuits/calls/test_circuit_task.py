"""Tasks that wait for an open circuit, in a real Celery worker on an in-memory broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Ignore, MaxRetriesExceededError, Retry
from celery.signals import task_postrun
from django.db import connections
from django.utils import timezone

import circuits
from circuits.calls import celery as circuits_celery
from circuits.models import Circuit
from tests.concurrency import wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


class Runs(list[tuple[str, int]]):
    """Records each run of a task: a word, and how many retries the task had used by then."""


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Celery:
    """A Celery app whose messages stay in memory."""
    monkeypatch.setattr(circuits_celery, "LEAST_SPREAD", 0.0)
    app = Celery("waiting", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"polling_interval": 0.01},
    )
    return app


@contextmanager
def working(app: Celery, name: str, work: Callable[..., Any], **options: Any) -> Iterator[Any]:
    """Yield a task that goes through the circuit, with a worker in a thread that runs it."""
    register: Any = app.task(
        base=circuits_celery.CircuitTask,
        circuit=name,
        bind=True,
        name=f"tests.{name}",
        shared=False,
        **options,
    )
    task = register(work)
    task_postrun.connect(_close_connections)
    try:
        with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
            yield task
    finally:
        task_postrun.disconnect(_close_connections)


def _close_connections(**_: object) -> None:
    """Close the connections of the worker's thread, since a database in use cannot be dropped."""
    connections.close_all()


def reopens_soon(name: str) -> None:
    """Let the delay of the open circuit end in a second."""
    Circuit.objects.filter(name=name).update(retry_at=timezone.now() + timedelta(seconds=1))


def refusals(name: str) -> int:
    circuits.flush()
    return Circuit.objects.get(name=name).total_refusals


def test_a_task_runs_through_its_circuit(app: Celery, runs: Runs) -> None:
    def work(self: Any, word: str) -> str:
        runs.append((word, self.request.retries))
        return word * 2

    with working(app, "payments", work) as charge:
        assert charge.delay("a").get(timeout=20) == "aa"
    assert runs == [("a", 0)]
    assert Circuit.objects.filter(name="payments").exists()


def test_it_waits_for_an_open_circuit_and_keeps_its_retries(app: Celery, runs: Runs) -> None:
    CircuitFactory.create(name="payments", opened=True)

    def work(self: Any, word: str) -> str:
        runs.append((word, self.request.retries))
        return word

    with working(app, "payments", work, max_retries=0) as charge:
        reopens_soon("payments")
        assert charge.delay("a").get(timeout=20) == "a"
    assert refusals("payments") > 0
    assert runs == [("a", 0)]
    assert Circuit.objects.get(name="payments").state == "closed"


def test_a_refusal_inside_the_task_waits_too(app: Celery, runs: Runs) -> None:
    CircuitFactory.create(name="inner", opened=True)

    def work(self: Any) -> str:
        runs.append(("try", self.request.retries))
        with circuits.guard("inner"):
            return "done"

    with working(app, "outer", work, max_retries=0) as task:
        reopens_soon("inner")
        assert task.delay().get(timeout=20) == "done"
    assert [retries for _, retries in runs] == [0] * len(runs)
    assert len(runs) > 1
    assert Circuit.objects.get(name="outer").failure_count == 0


def test_its_own_retries_are_counted_as_ever_and_each_failure_once(app: Celery, runs: Runs) -> None:
    def work(self: Any) -> None:
        runs.append(("try", self.request.retries))
        raise ConnectionError("down")

    retries = {"autoretry_for": (ConnectionError,), "max_retries": 2, "default_retry_delay": 0}
    with working(app, "payments", work, **retries) as flaky, pytest.raises(ConnectionError):
        flaky.delay().get(timeout=20)
    assert runs == [("try", 0), ("try", 1), ("try", 2)]
    assert Circuit.objects.get(name="payments").total_failures == 3


def test_ignoring_a_task_counts_as_nothing(app: Celery, runs: Runs) -> None:
    CircuitFactory.create(name="payments", expired=True)

    def work(self: Any) -> None:
        runs.append(("try", 0))
        raise Ignore

    with working(app, "payments", work) as task:
        task.delay()
        wait_until(lambda: runs)
        wait_until(lambda: Circuit.objects.get(name="payments").leases == [])
    assert Circuit.objects.get(name="payments").state == "half_open"


def test_called_directly_it_raises_the_refusal() -> None:
    CircuitFactory.create(name="payments", opened=True)

    @circuits.circuit_task("payments", name="tests.direct")
    def charge() -> None:
        raise AssertionError("it must not run")

    with pytest.raises(circuits.CircuitOpenError):
        charge()
    with pytest.raises(circuits.CircuitOpenError):
        charge.apply(throw=True)


def test_the_decorator_passes_its_options_on() -> None:
    @circuits.circuit_task(
        "payments", name="tests.options", exceptions=(OSError,), exclude=TimeoutError, max_retries=9
    )
    def charge() -> None:
        raise ValueError("not one of the exceptions")

    assert (charge.circuit, charge.max_retries) == ("payments", 9)
    with pytest.raises(ValueError, match="not one"):
        charge()
    assert Circuit.objects.get(name="payments").total_failures == 0


@pytest.mark.parametrize(("opened_for", "least_spread"), [(600.0, 15.0), (0.5, 0.4)])
def test_tasks_that_wait_for_one_circuit_come_back_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, opened_for: float, least_spread: float
) -> None:
    CircuitFactory.create(
        name="payments", opened=True, retry_at=timezone.now() + timedelta(seconds=opened_for)
    )
    waits: list[float] = []

    def retry(task: Any, *, exc: circuits.CircuitOpenError, countdown: float, **_: Any) -> Retry:
        waits.append(countdown - exc.retry_after)
        return Retry(exc=exc)

    def work() -> None:
        raise AssertionError("the circuit is open")

    monkeypatch.setattr(circuits_celery.CircuitTask, "retry", retry)
    app = Celery("spread", broker="memory://", set_as_current=False)
    task: Any = app.task(
        base=circuits_celery.CircuitTask, circuit="payments", name="tests.spread", shared=False
    )(work)
    for _ in range(40):
        task.push_request(called_directly=False, is_eager=False, retries=0)
        try:
            with pytest.raises(Retry):
                task()
        finally:
            task.pop_request()
    assert min(waits) >= 0, "never before the circuit lets a call through"
    assert max(waits) - min(waits) > least_spread


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, {"max_retries": None, "throw": False}),
        ({"waits_in": "slow"}, {"max_retries": None, "throw": False, "queue": "slow"}),
    ],
)
def test_a_task_waits_in_its_own_queue_unless_another_is_named(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], asked: dict[str, Any]
) -> None:
    CircuitFactory.create(name="payments", opened=True)

    def retry(task: Any, *, exc: Exception, countdown: float, **given: Any) -> Retry:
        assert given == asked
        assert task.request.retries == 1, "so that Celery's own retry leaves it at two"
        return Retry(exc=exc)

    monkeypatch.setattr(circuits_celery.CircuitTask, "retry", retry)

    @circuits.circuit_task("payments", name=f"tests.waits {options}", **options)
    def charge() -> None:
        raise AssertionError("the circuit is open")

    charge.push_request(called_directly=False, is_eager=False, retries=2)
    try:
        with pytest.raises(Retry):
            charge()
    finally:
        charge.pop_request()


# Retries that the task itself requests


@pytest.mark.parametrize(
    ("named", "handled", "failures"),
    [
        (ConnectionError("down"), None, 1),
        (KeyError("not there yet"), ConnectionError("down"), 0),
        (ConnectionError("down"), KeyError("not there yet"), 1),
        (None, ConnectionError("down"), 1),
        (None, None, 0),
    ],
)
def test_a_retry_counts_as_the_exception_that_it_names_or_else_handles(
    named: Exception | None, handled: Exception | None, failures: int
) -> None:
    @circuits.circuit_task("payments", name=f"tests.{named} {handled}", exclude=KeyError)
    def poll() -> None:
        again = Retry(exc=named)
        again.__context__ = handled
        raise again

    with pytest.raises(Retry):
        poll()
    circuits.flush()
    assert Circuit.objects.get(name="payments").total_failures == failures


def poll(self: Any) -> None:
    raise self.retry(countdown=0)


def handle_excluded(self: Any) -> None:
    try:
        raise KeyError("not there yet")
    except KeyError:
        raise self.retry(countdown=0) from None


def handle_failure(self: Any) -> None:
    try:
        raise ConnectionError("down")
    except ConnectionError:
        raise self.retry(countdown=0) from None


@pytest.mark.parametrize(
    ("work", "failures"), [(poll, 0), (handle_excluded, 0), (handle_failure, 3)]
)
def test_a_retry_counts_as_what_it_is_for(app: Celery, work: Any, failures: int) -> None:
    with working(app, "payments", work, max_retries=2, circuit_exclude=KeyError) as task:
        result = task.delay()
        with pytest.raises(MaxRetriesExceededError):
            result.get(timeout=20)
    assert Circuit.objects.get(name="payments").total_failures == failures


def test_an_inner_refusal_waits_and_is_not_retried_for(app: Celery, runs: Runs) -> None:
    CircuitFactory.create(name="inner", opened=True)

    def work(self: Any) -> str:
        runs.append(("try", self.request.retries))
        with circuits.guard("inner"):
            return "done"

    retries = {
        "autoretry_for": (circuits.RemoteCallFailedException,),
        "max_retries": 100,
        "default_retry_delay": 0,
    }
    with working(app, "outer", work, **retries) as task:
        reopens_soon("inner")
        assert task.delay().get(timeout=20) == "done"
    assert {used for _, used in runs} == {0}
