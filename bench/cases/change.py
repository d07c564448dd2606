"""Changes of state: a circuit opens, lets a trial through, and closes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import circuits
from bench import peers
from bench.counting import Counter, by_worker, counting
from bench.databases import LABELS, circuits_on
from bench.measure import BrokenContenderError, Contender, Effort, measure, preparing
from bench.results import Ratio, Result, Table
from bench.work import Expecting, RemoteDownError, Tally, Work

from .case import Case

NAME: Final = "change"

#: A change must take no more statements than this, COMMIT included.
STATEMENTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of state that can be repeated.

    Args:
        prepare: Brings the circuit into the state before the change.
        make: Makes the change.
        state: Returns the state that the circuit is in.
        ends_in: The state that it should be in after the change.
    """

    name: str
    prepare: Callable[[], object]
    make: Callable[[], object]
    state: Callable[[], str]
    ends_in: str

    def check(self) -> None:
        """Check that the change was made.

        Raises:
            BrokenContenderError: The circuit is in another state than the change ends in.
        """
        if self.state() != self.ends_in:
            raise BrokenContenderError(f"{self.name} ended in {self.state()}, not {self.ends_in}.")


def run(effort: Effort) -> Result:
    """Count the statements of each change, and time the changes against pybreaker on Redis."""
    counts = {
        (alias, change.name): count_change(alias, change)
        for alias in LABELS
        for change in our_changes()
    }
    with peers.redis_client() as redis:
        timings = measure([*_ours(), *map(_contender, _theirs(redis))], effort)
    return Result(
        name=NAME,
        title="A change of state: the failure that opens, the trial let through, its success",
        timings=timings,
        baseline="opening, pybreaker on Redis",
        ratios=tuple(_ratios(counts)),
        table=Table(
            columns=("change", "database", "statements", "round trips"),
            rows=tuple(
                (name, LABELS[alias], _in_all(counter), counter.trips)
                for (alias, name), counter in counts.items()
            ),
        ),
    )


def our_changes() -> list[Change]:
    """Return the changes of a circuit whose threshold is 1 and whose delay is 0."""
    circuit = circuits.get(NAME)
    open_it = Expecting(circuits.protect(NAME)(Work().fail), RemoteDownError).attempt
    succeed = circuits.protect(NAME)(Work().succeed)
    trial = _Trial()

    def close_it() -> None:
        trial.end()
        circuit.reset()
        succeed()  # reads the row, as earlier calls would have done

    def open_again() -> None:
        close_it()
        open_it()

    def let_through() -> None:
        open_again()
        trial.begin()

    parts = (
        ("opening", close_it, open_it, "open"),
        ("letting a trial through", open_again, trial.begin, "half_open"),
        ("closing", let_through, trial.end, "closed"),
    )
    return [
        Change(
            name=name,
            prepare=prepare,
            make=make,
            state=lambda: str(circuit.state),
            ends_in=ends_in,
        )
        for name, prepare, make, ends_in in parts
    ]


class _Trial:
    """A trial call that begins and ends in two steps."""

    def __init__(self) -> None:
        self._guard: circuits.guard | None = None

    def begin(self) -> None:
        self._guard = circuits.guard(NAME)
        self._guard.__enter__()

    def end(self) -> None:
        """End the call, if there is one; otherwise later calls would be nested in it."""
        if self._guard is not None:
            self._guard.__exit__(None, None, None)
            self._guard = None


def within(alias: str) -> Callable[[], AbstractContextManager[None]]:
    """Return a function that keeps the circuit of :func:`our_changes` on a database."""
    policy = {"threshold": 1, "delay": 0}
    return partial(circuits_on, alias, CIRCUITS={NAME: policy})


def count_change(alias: str, change: Change) -> Counter:
    """Make a change, and return what it sent to the database of an alias."""

    def counted() -> Counter:
        with counting(alias) as counter, within(alias)():
            change.prepare()
            counter.reset()
            change.make()
            counted = counter.copy()
            change.check()
        return counted

    return by_worker(counted)


def _ours() -> Iterator[Contender]:
    for alias, label in LABELS.items():
        for change in our_changes():
            yield _contender(change, f"{change.name}, protect on {label}", within(alias))


def _theirs(redis: Any) -> Iterator[Change]:
    peer = peers.pybreaker_on_redis(redis, NAME, threshold=1, delay=0)
    breaker: Any = peer.protect
    fail = Expecting(peer.protect(Work().fail), RemoteDownError).attempt
    parts = (
        ("opening", breaker.close, fail, "open"),
        ("letting a trial through and closing", breaker.open, breaker(Work().succeed), "closed"),
    )
    for name, prepare, make, ends_in in parts:
        yield Change(
            name=f"{name}, {peer.name}",
            prepare=prepare,
            make=make,
            state=lambda: str(breaker.current_state),
            ends_in=ends_in,
        )


def _contender(
    change: Change,
    name: str = "",
    within: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Contender:
    tally = Tally()

    def check() -> None:
        change.check()
        tally.tick()

    return Contender(
        name=name or change.name,
        time=preparing(change.prepare, change.make, check),
        done=tally.total,
        within=within,
    )


def _ratios(counts: dict[tuple[str, str], Counter]) -> Iterator[Ratio]:
    for (alias, name), counter in counts.items():
        what = f"{name} on {LABELS[alias]}"
        # Each statement is a round trip. We cannot save what the driver sends by itself to begin a
        # transaction: BEGIN by psycopg, autocommit off and on again by mysqlclient.
        yield Ratio(name=f"statements of {what}", value=_in_all(counter), limit=STATEMENTS)
        yield Ratio(name=f"round trips of {what}, the driver's own too", value=counter.trips)


def _in_all(counter: Counter) -> int:
    """Return how many statements the transaction had, including COMMIT."""
    return 1 + sum(not sql.startswith("BEGIN") for sql, _ in counter.statements)


CASE: Final = Case(name=NAME, run=run, needs=("PostgreSQL", "MariaDB", "Redis"))
