"""The modelled row answers as the row in the database does, whatever is asked of it."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.core import machine, windows
from circuits.core.budget import Spending
from circuits.core.policy import Policy
from circuits.core.status import Failure, Mode, Permit, Step, Witness
from circuits.storage.contract import Snapshot, Store, Tally
from circuits.storage.database import DatabaseStore
from tests.factories import CircuitFactory
from tests.faults.fleet import SharedRow

pytestmark = pytest.mark.usefixtures("committed")

#: Seconds that no run reaches here, and that each run has reached: nothing depends on the clock.
YOUNG, OLD = 3600.0, 0.0

#: What can be asked of a store.
STEPS: Final = st.sampled_from(
    [
        "fail",
        "fail",
        "fail",
        "fail old",
        "clear",
        "open",
        "half open",
        "force",
        "automatic",
        "stale",
        "spend",
    ]
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEPS, min_size=1, max_size=25))
def test_the_modelled_row_does_what_the_databases_row_does(steps: list[str]) -> None:
    name = CircuitFactory.create(threshold=3, delay=3600).name
    database: Store = DatabaseStore()
    modelled: Store = SharedRow(Policy(threshold=3, delay=3600), lambda: 1000.0)
    for step in steps:
        assert _take(database, name, step) == _take(modelled, name, step), step
        assert _essence(database.read(name)) == _essence(modelled.read(name)), step


def _take(store: Store, name: str, step: str) -> object:
    """Do one step to the row, and return what the caller learns."""
    snapshot = store.read(name)
    permit = Permit(snapshot.status.generation - (step == "stale"))
    match step:
        case "fail" | "fail old" | "stale":
            settle = OLD if "old" in step else YOUNG
            failure = Failure(settle_seconds=settle, witness=Witness(process="a"))
            return store.count_failure(snapshot, permit, failure, "down")
        case "clear":
            return store.clear_failures(snapshot, permit, Witness(process="b"))
        case "spend":
            [changed] = store.flush([_tally(name)])
            return changed and windows.totals(changed.after.retry_window)
        case _:
            return _essence(store.change(name, lambda row: _decide(row, step)).after)


def _tally(name: str) -> Tally:
    """Return what a process flushes that has retried and made no calls."""
    return Tally(
        name=name,
        at=None,
        successes=0,
        failures=0,
        refused={},
        last_success_at=None,
        spending=Spending(10, 2),
    )


def _decide(row: Snapshot, step: str) -> Step:
    if step == "open":
        sure = Failure(own_run=row.policy.threshold)
        return machine.fail(row.status, row.policy, Permit(row.status.generation), row.now, sure)
    if step == "half open":
        return machine.expire(row.status, row.now + row.policy.delay + 1)
    mode = Mode.FORCED_CLOSED if step == "force" else Mode.AUTOMATIC
    return machine.set_mode(row.status, mode, row.now)


def _essence(snapshot: Snapshot) -> tuple[Any, ...]:
    """Return the parts of a snapshot that do not depend on a clock."""
    status = snapshot.status
    return (
        status.state,
        status.mode,
        status.generation,
        status.failure_count,
        status.run_started_at is None,
        status.run_by,
        status.accuser,
        status.succeeded_by,
        windows.totals(snapshot.retry_window),
    )
