import pytest

from mockapi.hits import HitCounter

from .threads import YieldingKey, run_in_threads


def test_counts_each_endpoint_apart() -> None:
    hits = HitCounter(["a", "b", "c"])
    hits.record("a")
    hits.record("b")
    hits.record("b")

    assert hits.snapshot() == {"a": 1, "b": 2, "c": 0}


def test_reset_zeroes_and_keeps_the_endpoints() -> None:
    hits = HitCounter(["a", "b"])
    hits.record("a")
    hits.reset()

    assert hits.snapshot() == {"a": 0, "b": 0}


def test_a_snapshot_does_not_change_afterwards() -> None:
    hits = HitCounter(["a"])
    before = hits.snapshot()
    hits.record("a")

    assert before == {"a": 0}


def test_an_unknown_endpoint_is_an_error() -> None:
    with pytest.raises(KeyError):
        HitCounter(["a"]).record("b")


def test_counts_are_exact_under_many_threads() -> None:
    hits = HitCounter(["a"])

    run_in_threads(lambda: hits.record(YieldingKey("a")), times=2000)

    assert hits.snapshot() == {"a": 2000}
