"""The statements that threads send to their database are noted when they are sent."""

from __future__ import annotations

import time

import pytest
from django.db import connections, transaction

from bench.measure import BrokenContenderError
from bench.traffic import Asked, Traffic
from circuits.models import Circuit

ALIAS = "circuits"

pytestmark = pytest.mark.usefixtures("committed")


def test_reads_and_transactions_are_told_apart() -> None:
    asked = Asked()
    rows = Circuit.objects.using(ALIAS)
    with connections[ALIAS].execute_wrapper(asked.note):
        rows.count()
        rows.update(total_failures=1)
        with transaction.atomic(ALIAS):
            rows.count()
            rows.update(total_failures=2)
            rows.update(total_failures=3)
    assert len(asked.reads) == 1
    assert len(asked.writes) == 2
    assert len(asked.statements) >= 5


def test_a_transaction_that_is_rolled_back_wrote_nothing() -> None:
    asked = Asked()
    with connections[ALIAS].execute_wrapper(asked.note), transaction.atomic(ALIAS):
        Circuit.objects.using(ALIAS).update(total_failures=1)
        transaction.set_rollback(True, ALIAS)
    assert asked.writes == []


def test_every_call_of_every_thread_is_told() -> None:
    traffic = Traffic(["one", "two"], failing=0.05)
    traffic.call_each()
    began = time.monotonic()
    with traffic.running(until=began + 0.5) as futures:
        pass
    spans = traffic.spans(futures)
    assert spans
    assert min(at for at, _ in spans) >= began


def test_a_call_that_did_not_get_through_is_missed() -> None:
    traffic = Traffic(["one"])
    with traffic.running(until=time.monotonic() + 0.5) as futures:
        pass
    with pytest.raises(BrokenContenderError, match="got through"):
        traffic.spans(futures[:0])
