"""The figures of the cases with a silent server, and with one process and many circuits."""

from __future__ import annotations

import pytest

from bench.cases import pulse, silence
from bench.measure import BrokenContenderError
from bench.traffic import Cost


def test_calls_count_from_the_moment_of_silence() -> None:
    spans = [(9.0, 0.5), (9.9, 0.6), (10.2, 0.05), (11.0, 0.11), *[(12.0, 0.0)] * 7]
    waits = silence.waits(spans, left_at=[10.3], silent_at=10.0)
    assert (waits.calls, waits.longest, waits.long) == (10, 0.6, 2)
    assert waits.long_in_10_000 == 2000
    assert waits.noticed == pytest.approx(0.3)


@pytest.mark.parametrize("left_at", [[], [9.5, 10.5]])
def test_a_silence_that_nobody_noticed_says_nothing(left_at: list[float]) -> None:
    with pytest.raises(BrokenContenderError, match="just then"):
        silence.waits([(10.0, 0.1)], left_at, silent_at=10.0)


@pytest.mark.parametrize(("longest", "long", "missed"), [(1.0, 4, []), (1.1, 5, [0, 1])])
def test_what_is_promised_of_a_wait(longest: float, long: int, missed: list[int]) -> None:
    waits = silence.Waits(calls=10_000, longest=longest, long=long, noticed=0.3)
    ratios = [*silence.ratios({"PostgreSQL": waits})]
    assert [index for index, ratio in enumerate(ratios) if ratio.is_missed] == missed


@pytest.mark.parametrize(
    ("reads", "writes", "connections", "missed"),
    [(5.0, 1.0, 2, []), (5.1, 1.5, 3, [0, 1, 2]), (40.0, 1.0, 2, [0])],
)
def test_what_is_promised_of_a_process(
    reads: float, writes: float, connections: int, missed: list[int]
) -> None:
    cost = Cost(calls=1, reads=reads, writes=writes, statements=9.0, connections=connections)
    ratios = [*pulse.ratios({("PostgreSQL", 8): cost})]
    assert [index for index, ratio in enumerate(ratios) if ratio.is_missed] == missed
    assert not any(ratio.is_missed for ratio in pulse.first_ratios({"PostgreSQL": cost}))
