"""The exceptions: their messages for people, their attributes for code, and their pickling."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from circuits import exceptions
from circuits.exceptions import (
    CircuitBusyError,
    CircuitOpenError,
    InvalidInputError,
    ModeChangedError,
    RemoteCallFailedException,
    Standing,
    TooManyCircuitsError,
    Worded,
    shown,
)


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (8.69, "Retry after 8.69 secs"),
        (8.6949, "Retry after 8.69 secs"),
        (10, "Retry after 10.00 secs"),
        (0.0, "Retry after 0.00 secs"),
    ],
)
def test_a_refusal_says_when_to_retry(seconds: float, message: str) -> None:
    error = CircuitOpenError("payments", seconds)
    assert str(error) == message
    assert (error.name, error.retry_after, error.response) == ("payments", seconds, None)


def test_a_failed_call_says_what_it_was_told() -> None:
    response = requests.Response()
    error = RemoteCallFailedException("It is down.", "payments", response)
    assert str(error) == "It is down."
    assert (error.name, error.response) == ("payments", response)
    bare = RemoteCallFailedException("It is down.")
    assert (bare.name, bare.response) == ("", None)


def test_one_circuit_too_many_is_named_with_the_fix() -> None:
    error = TooManyCircuitsError("user 7", 10_000)
    assert (error.name, error.limit) == ("user 7", 10_000)
    assert str(error) == (
        "The circuit 'user 7' was not made: there are 10000 already. "
        "Use fewer names, or raise CIRCUITS['MAX_CIRCUITS']."
    )


def test_who_catches_the_base_catches_refusals_too() -> None:
    assert issubclass(CircuitOpenError, RemoteCallFailedException)
    assert not issubclass(RemoteCallFailedException, OSError)


def test_bad_input_is_a_value_error_and_no_failed_call() -> None:
    assert issubclass(InvalidInputError, ValueError)
    assert not issubclass(InvalidInputError, RemoteCallFailedException)
    assert not issubclass(TooManyCircuitsError, RemoteCallFailedException)


@pytest.mark.parametrize(
    "error",
    [
        RemoteCallFailedException("It is down.", "payments", {"status": 500}),
        RemoteCallFailedException("It is down."),
        CircuitOpenError("payments", 8.69),
        InvalidInputError("threshold must be a number."),
        InvalidInputError("%(name)s must be a number.", name="threshold"),
        TooManyCircuitsError("payments", 3),
        ModeChangedError("payments", "automatic", "observe"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_comes_through_pickle_whole(error: Exception) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))


def test_subclasses_come_through_pickle_too() -> None:
    back = pickle.loads(pickle.dumps(PaymentsRefusedError("payments", 2.5)))
    assert isinstance(back, PaymentsRefusedError)
    assert (str(back), back.retry_after) == ("Retry after 2.50 secs", 2.5)


class PaymentsRefusedError(CircuitOpenError):
    """An exception of a site."""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InvalidInputError("%(name)s is 100%% wrong.", name="delay"), "delay is 100% wrong."),
        (InvalidInputError("'%d' is 100% wrong."), "'%d' is 100% wrong."),
        (CircuitBusyError("a", 2.5), "Too many calls to a at once. Retry after 2.50 secs"),
    ],
)
def test_it_is_said_with_its_values_in_any_language(error: Worded, sentence: str) -> None:
    assert str(error) == sentence
    assert error.worded(lambda text: f"¡{text}!") == f"¡{sentence}!"


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("nothing to see")


def test_a_bad_value_is_shown_as_far_as_it_can_be() -> None:
    assert shown("pay\nments") == "'pay\\nments'"
    assert shown("x" * 198) == repr("x" * 198)
    assert shown("x" * 199) == f"'{'x' * 199}..."
    assert shown(10**5000) == "an unprintable int"
    assert shown([Unprintable()]) == "an unprintable list"


# What a refusal says about its circuit


def test_a_traceback_names_the_circuit_also_where_nothing_more_is_known() -> None:
    text = "".join(traceback.format_exception_only(CircuitOpenError("payments", 8.69)))
    assert text.splitlines()[1:] == ["Circuit payments"]


def test_the_notes_are_made_when_they_are_read_and_no_sooner(asked: list[str]) -> None:
    error = CircuitOpenError("payments", 8.69)
    assert str(error) == "Retry after 8.69 secs"
    assert repr(copy.copy(error)) == repr(pickle.loads(pickle.dumps(error)))
    assert asked == []
    assert vars(error) == {"name": "payments", "retry_after": 8.69}
    assert error.__notes__ == error.__notes__
    assert asked == ["payments"]


def test_a_note_may_be_added_before_and_after_the_first_is_read() -> None:
    error = CircuitOpenError("payments", 8.69)
    error.add_note("while charging order 7")
    error.add_note("for ann")
    assert error.__notes__ == ["Circuit payments", "while charging order 7", "for ann"]
    assert "while charging order 7\n" in traceback.format_exception_only(error)
    error.__notes__ = ["mine alone"]
    assert error.__notes__ == ["mine alone"]


def test_notes_and_standing_go_through_pickle_and_copy_once_they_were_read() -> None:
    error = CircuitOpenError("payments", 8.69)
    error.add_note("while charging order 7")
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert back.__notes__ == error.__notes__
        assert back.standing == error.standing


def test_a_refusal_tells_of_its_circuit_what_the_process_knows(asked: list[str]) -> None:
    error = CircuitOpenError("payments", 8.69)
    assert (error.standing.failed_trials, error.standing.refused) == (7, 3752)
    assert error.__notes__ == [
        "Circuit payments: down since 2026-11-28 15:08:00 UTC; failed trials: 7; "
        "calls refused: 3,752; next trial at 15:23:10 UTC; last error: ConnectionError: refused; "
        "https://site.example/incident/1"
    ]


def test_who_cannot_tell_spoils_no_traceback() -> None:
    def fail(name: str) -> Standing:
        raise RuntimeError("nothing works any more")

    exceptions.ask_for_standing(fail)
    error = CircuitOpenError("payments", 8.69)
    assert error.__notes__ == ["Circuit payments"]
    assert error.standing == Standing()


@pytest.fixture
def asked(nobody_knows: None) -> list[str]:
    """Collect the names of circuits whose standing refusals ask for."""
    names: list[str] = []

    def ask(name: str) -> Standing:
        names.append(name)
        return Standing(
            state="open",
            mode="automatic",
            since=datetime(2026, 11, 28, 15, 8, tzinfo=UTC),
            retry_at=datetime(2026, 11, 28, 15, 23, 10, tzinfo=UTC),
            failed_trials=7,
            refused=3752,
            last_error="ConnectionError: refused",
            url="https://site.example/incident/1",
        )

    exceptions.ask_for_standing(ask)
    return names


@pytest.fixture(autouse=True)
def nobody_knows() -> Iterator[None]:
    before = exceptions.ask_for_standing(lambda name: Standing())
    yield
    exceptions.ask_for_standing(before)
