"""Calls through a circuit that succeed, fail or are refused, without a remote behind them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context

import pytest

import circuits


def succeed(name: str, times: int = 1) -> None:
    """Make calls that succeed."""
    for _ in range(times):
        with circuits.guard(name):
            pass


def fail(name: str, times: int = 1) -> None:
    """Make calls that fail; raise the refusal if one is refused."""
    for _ in range(times):
        with suppress(ConnectionError), circuits.guard(name):
            raise ConnectionError("the remote is down")


def refusal(name: str) -> circuits.CircuitOpenError:
    """Make a call that must be refused, and return the refusal."""
    with pytest.raises(circuits.CircuitOpenError) as refused, circuits.guard(name):
        raise AssertionError("the call was made")
    return refused.value


@contextmanager
def under_way(name: str) -> Iterator[None]:
    """Keep a call of another caller under way, in which calls of the block are not nested."""
    context = Context()
    guard = circuits.guard(name)
    context.run(guard.__enter__)
    try:
        yield
    finally:
        context.run(guard.__exit__, None, None, None)


def play(name: str, outcomes: str) -> str:
    """Make a call for each letter and return the outcomes as letters.

    ``f`` is a call that fails; in the outcomes, ``r`` is a call that was refused.
    """
    return "".join(_play_one(name, letter == "f") for letter in outcomes)


def _play_one(name: str, fails: bool) -> str:
    try:
        with circuits.guard(name):
            if fails:
                raise ConnectionError("down")
    except circuits.CircuitOpenError:
        return "r"
    except ConnectionError:
        return "f"
    return "."
