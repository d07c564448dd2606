"""Calls through a circuit that go well, go wrong or are refused, with nothing behind them."""

from __future__ import annotations

from contextlib import suppress

import pytest

import circuits


def succeed(name: str, times: int = 1) -> None:
    """Make calls that succeed."""
    for _ in range(times):
        with circuits.guard(name):
            pass


def fail(name: str, times: int = 1) -> None:
    """Make calls that fail; a refusal is raised."""
    for _ in range(times):
        with suppress(ConnectionError), circuits.guard(name):
            raise ConnectionError("the remote is down")


def refusal(name: str) -> circuits.CircuitOpenError:
    """Ask for a call that must be refused, and return the refusal."""
    with pytest.raises(circuits.CircuitOpenError) as refused, circuits.guard(name):
        raise AssertionError("the call was made")
    return refused.value


def play(name: str, outcomes: str) -> str:
    """Make a call for each letter, ``f`` for one that fails; return what came of each.

    ``r`` stands for a refused call.
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
