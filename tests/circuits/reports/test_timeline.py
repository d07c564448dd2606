"""The states and modes of a circuit, computed from its history."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from circuits.core.status import Mode, State
from circuits.reports.timeline import Span, Turn, spans


def turn(at: float, before: str, after: str, mode: str = "automatic") -> Turn:
    return Turn(at, before, after, mode, mode)


def in_order(changes: list[Turn], state: str = "closed") -> list[Span]:
    return spans(changes, state, "automatic", 100, 200)


def automatic(state: str, since: float, until: float) -> Span:
    return Span(state, "automatic", since, until)


OPENED, CLOSED = turn(120, "closed", "open"), turn(150, "open", "closed")


def test_a_circuit_without_a_change_was_always_what_it_is() -> None:
    assert spans([], "open", "observe", 100, 200) == [Span("open", "observe", 100, 200)]


def test_each_change_ends_a_span() -> None:
    assert in_order([OPENED, CLOSED]) == [
        automatic("closed", 100, 120),
        automatic("open", 120, 150),
        automatic("closed", 150, 200),
    ]
    assert in_order([OPENED, CLOSED])[1].seconds == 30


def test_a_change_of_mode_ends_a_span_too() -> None:
    assert spans(
        [Turn(130, "closed", "open", "automatic", "forced_open")], "open", "forced_open", 100, 200
    ) == [automatic("closed", 100, 130), Span("open", "forced_open", 130, 200)]


def test_changes_from_before_say_what_it_began_with() -> None:
    assert in_order([turn(90, "closed", "open"), CLOSED]) == [
        automatic("open", 100, 150),
        automatic("closed", 150, 200),
    ]


def test_what_lasted_no_time_is_left_out() -> None:
    at_once = [OPENED, turn(120, "open", "half_open"), turn(120, "half_open", "closed")]
    assert in_order(at_once) == [automatic("closed", 100, 200)]


def test_what_it_is_now_is_told_though_it_began_this_moment() -> None:
    assert in_order([turn(200, "closed", "open")], "open") == [
        automatic("closed", 100, 200),
        automatic("open", 200, 200),
    ]


def test_where_a_clock_was_set_back_the_later_moments_count() -> None:
    ahead = [turn(190, "closed", "open"), CLOSED]
    assert in_order(ahead) == [automatic("closed", 100, 200)]
    again = turn(160, "closed", "open")
    assert in_order([*ahead, again], "open") == [
        automatic("closed", 100, 160),
        automatic("open", 160, 200),
    ]


def test_a_change_from_the_future_is_of_this_moment() -> None:
    assert in_order([turn(500, "closed", "open")], "open")[-1] == automatic("open", 200, 200)


states = st.sampled_from(State).map(str)
modes = st.sampled_from(Mode).map(str)
moments = st.floats(-1e9, 1e10)
histories = st.lists(st.builds(Turn, moments, states, states, modes, modes), max_size=30)


@given(histories, states, modes, moments, st.floats(0, 1e6))
def test_spans_cover_the_time_without_gaps_and_end_with_the_present(
    changes: list[Turn], state: str, mode: str, start: float, seconds: float
) -> None:
    told = spans(changes, state, mode, start, start + seconds)
    assert (told[0].since, told[-1].until) == (start, start + seconds)
    assert (told[-1].state, told[-1].mode) == (state, mode)
    assert all(one.until == other.since for one, other in pairwise(told))
    assert all(one[:2] != other[:2] for one, other in pairwise(told))
    assert all(span.seconds > 0 for span in told[:-1])
    assert told[-1].seconds >= 0


@given(
    st.lists(st.tuples(st.floats(101, 199), states, modes), min_size=1, unique_by=lambda x: x[0])
)
def test_of_an_orderly_history_every_moment_is_told_as_it_was(
    arrivals: list[tuple[float, str, str]],
) -> None:
    changes, before = [], ("closed", "automatic")
    for at, *after in sorted(arrivals):
        changes.append(Turn(at, before[0], after[0], before[1], after[1]))
        before = (after[0], after[1])
    told = spans(changes, *before, 100, 200)
    for change in changes:
        (span,) = [span for span in told if span.since <= change.at < span.until]
        assert span[:2] == (change.to_state, change.to_mode)
