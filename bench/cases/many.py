"""A call that succeeds, among few circuits and among many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle
from typing import Any, Final

from django.db import connections

import circuits
from bench import peers
from bench.contenders import Protect, succeeding
from bench.databases import LABELS, circuits_on, made_one
from bench.measure import Effort, Timings, measure, ratio
from bench.results import Ratio, Result
from bench.work import Work

from .case import Case

NAME: Final = "many"

#: How many circuits are called in turn.
NAMES: Final = 100

#: How many circuits the larger database holds.
ROWS: Final = 100_000

#: How many circuits a process knows; ``MAX_CIRCUITS`` allows as many by default.
GATES: Final = 10_000

#: Seconds for which a snapshot is used, so that none ages while all circuits have their turn.
FRESH: Final = 60

STORES: Final = ("sqlite", "postgres")


def run(effort: Effort) -> Result:
    """Time calls through few and many circuits, whose rows are read each time or known already."""
    with ExitStack() as stack:
        for alias in STORES:
            stack.enter_context(_large(alias))
        timings = {**_read(effort), **_known(effort)}
    return Result(
        name=NAME,
        title="A call that succeeds, by how many circuits there are",
        timings=timings,
        baseline=_knowing(NAMES),
        ratios=(
            *(
                Ratio(
                    name=f"read on {LABELS[alias]}, {ROWS:,} circuits / {NAMES}",
                    value=ratio(timings, _reading(alias, ROWS), _reading(alias, NAMES)),
                    limit=1.25,
                )
                for alias in STORES
            ),
            Ratio(
                name=f"known, {GATES:,} circuits / {NAMES}, compared with pybreaker",
                value=ratio(timings, _knowing(GATES), _knowing(NAMES))
                / ratio(timings, _peers(GATES), _peers(NAMES)),
            ),
        ),
    )


def _reading(alias: str, circuits: int) -> str:
    return f"protect, read each time, {circuits:,} on {LABELS[alias]}"


def _knowing(circuits: int) -> str:
    return f"protect, known, {circuits:,}"


def _peers(circuits: int) -> str:
    return f"pybreaker, {circuits:,}"


def _read(effort: Effort) -> Timings:
    """Time calls that each read their row, among few rows and among many."""
    names = [_name(number) for number in range(NAMES)]
    spread = [_name(number) for number in range(0, ROWS, ROWS // NAMES)]
    contenders = []
    for alias in STORES:
        few = partial(circuits_on, alias, SNAPSHOT_SECONDS=0)
        many = partial(circuits_on, _large_alias(alias), SNAPSHOT_SECONDS=0, MAX_CIRCUITS=2 * ROWS)
        contenders += [
            succeeding(_reading(alias, NAMES), _in_turn(_protects(names)), few),
            succeeding(_reading(alias, ROWS), _in_turn(_protects(spread)), many),
        ]
    for contender in contenders:
        with contender.within():
            contender.time(NAMES)  # makes the rows that are missing
    return measure(contenders, effort)


def _known(effort: Effort) -> Timings:
    """Time calls through few circuits and many in turn, all of which the process knows."""
    with circuits_on(_large_alias("sqlite"), SNAPSHOT_SECONDS=FRESH, MAX_CIRCUITS=2 * ROWS):
        contenders = [
            succeeding(_knowing(number), _in_turn(_protects(map(_name, range(number)))))
            for number in (NAMES, GATES)
        ]
        contenders[-1].time(GATES)  # the process knows all of them from here on
        contenders += [
            succeeding(_peers(number), _in_turn([peers.pybreaker().protect for _ in range(number)]))
            for number in (NAMES, GATES)
        ]
        return measure(contenders, effort)


def _name(number: int) -> str:
    return f"{NAME} {number}"


def _protects(names: Iterable[str]) -> list[Protect]:
    return [circuits.protect(name) for name in names]


def _in_turn(protects: Sequence[Protect]) -> Protect:
    """Return a wrapper that lets each call of a function go through the next of many breakers."""

    def protect(function: Callable[..., Any]) -> Callable[..., Any]:
        following = cycle([each(function) for each in protects]).__next__

        def call() -> None:
            following()()

        return call

    return protect


def _large_alias(alias: str) -> str:
    return f"{alias}_large"


@contextmanager
def _large(alias: str) -> Iterator[None]:
    """Make the larger database of an alias and fill it with rows."""
    large = _large_alias(alias)
    with made_one(large):
        with circuits_on(large):
            circuits.protect(_name(0))(Work().succeed)()
            _copy_row(large)
        yield


def _copy_row(alias: str) -> None:
    """Copy the only row ``ROWS - 1`` times, in the database itself."""
    from circuits.models import Circuit

    connection = connections[alias]
    fields = Circuit._meta.concrete_fields
    columns = [str(field.column) for field in fields if not field.generated]
    others = [connection.ops.quote_name(name) for name in columns if name not in ("id", "name")]
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE numbers(n) AS"
            f" (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS - 1})"
            f" INSERT INTO {Circuit._meta.db_table} (name, {', '.join(others)})"
            f" SELECT '{NAME} ' || n, {', '.join(others)}"
            f" FROM {Circuit._meta.db_table} CROSS JOIN numbers"
        )
        cursor.execute("ANALYZE")


CASE: Final = Case(name=NAME, run=run, needs=("PostgreSQL",))
