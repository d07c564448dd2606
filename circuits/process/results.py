"""Reports the outcomes of calls: in memory if that is enough, else to the store.

A success on a closed circuit without failures to clear is a tally in memory. A failure that opens
nothing is one conditional UPDATE. If the state may change, the machine decides under the row's
lock.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from time import monotonic
from typing import Final, ParamSpec

from .. import conf
from ..core import machine, windows
from ..core.policy import Policy, Strategy
from ..core.status import Failure, Mode, Permit
from ..core.windows import Outcome
from ..storage.announce import announce
from ..storage.contract import NO_NOTE, Note, Snapshot
from ..storage.errors import InDoubtError
from . import asking, loops, nesting, threads
from . import gate as gates
from .gate import Gate, Ticket
from .nesting import held
from .observers import CallOutcome

P = ParamSpec("P")

#: A name of its own, since looking up a member of an enum is slow on the hot path.
_SUCCESS: Final = CallOutcome.SUCCESS

#: With ``SNAPSHOT_SECONDS = 0``, a success asks for the state again if its call took longer than
#: this, in seconds.
BRIEF_SECONDS: Final = 0.01

#: The least number of seconds after which a run of failures is judged again while a call hangs.
SETTLE_SECONDS: Final = 0.2


def _from_anywhere(report: Callable[P, None]) -> Callable[P, None]:
    """Wrap a report to the store so that a thread makes it if an event loop is running.

    A sync call cannot wait for the database in a loop, and no error of the report must replace the
    exception of the call.
    """

    @wraps(report)
    def tell(*args: P.args, **kwargs: P.kwargs) -> None:
        if loops.is_running():
            threads.hand_over(report, *args, **kwargs)
        else:
            report(*args, **kwargs)

    return tell


# Successes -----------------------------------------------------------------------------------


def succeed(ticket: Ticket) -> None:
    """Report that a call succeeded."""
    if succeed_in_memory(ticket, ticket.started_at):
        store_success(ticket)


def succeed_in_memory(ticket: Ticket, began_at: float) -> bool:
    """Report a success in memory; return whether the store must be told too.

    Args:
        began_at: When a plain call began, on the monotonic clock. Any other ticket knows it itself.
    """
    gate = ticket.gate
    now = monotonic()
    if now >= gate.view.plain_until or (
        held() and nesting.told(gate) is not None
        if ticket.is_plain
        else not _is_timed_alone(ticket, now)
    ):
        ticket = ticket.begun(began_at)
        return _is_decided(ticket, CallOutcome.SUCCESS) and _hear_success(ticket.holder)
    tallies = gate.tallies
    next(tallies.successes)
    tallies.succeeded_at = now
    tallies.run_cleared = tallies.run_failed
    observe = gate.observe
    if observe is not None:
        observe(_SUCCESS, now - (ticket.started_at or began_at))
    return False


def _is_timed_alone(ticket: Ticket, now: float) -> bool:
    """Time a call that has succeeded; return false if there is more to do than that."""
    is_alone = nesting.leave_alone(ticket)
    if is_alone:
        ticket.gate.tallies.time(ticket.seconds(now))
    return is_alone


def _is_decided(ticket: Ticket, outcome: CallOutcome) -> bool:
    """Return whether a call's outcome decides that of its permit, which is now to be reported."""
    if ticket.is_plain:
        return nesting.told(ticket.gate) is None
    return nesting.leave(ticket, outcome) is not None


def _hear_success(ticket: Ticket) -> bool:
    """Report a success that is not plain; return whether the store must be told too."""
    gate, tallies = ticket.gate, ticket.gate.tallies
    if ticket.started_at:
        tallies.time(ticket.seconds(monotonic()))
    is_trial = ticket.permit.lease is not None
    slow = is_slow(ticket)
    if slow and not ticket.is_in_window:
        return ticket.end(CallOutcome.FAILURE)
    if not ticket.end(CallOutcome.SUCCESS):
        if ticket.is_in_window:
            next(tallies.successes)
        return False
    next(tallies.successes)
    tallies.succeeded_at = monotonic()
    tallies.run_cleared = tallies.run_failed
    if is_trial:
        return True
    if tallies.window is not None:
        return _hear_in_window(ticket, slow) or gate.view.is_counting
    if gate.view.is_counting:
        return True
    return not knows_run(ticket) and not gate.clear_soon(ticket.permit)


def _hear_in_window(ticket: Ticket, slow: bool) -> bool:
    """Gather a success for the window; return whether it is slow and may open the circuit."""
    gate, permit = ticket.gate, ticket.permit
    window, snapshot = gate.tallies.window, gate.snapshot
    if window is None or snapshot is None:
        return False
    if permit.generation == window.generation and permit.counts:
        window.hear(Outcome.SLOW if slow else Outcome.GOOD)
    return slow and _may_open(gate, snapshot.policy)


def _may_open(gate: Gate, policy: Policy) -> bool:
    """Return whether the outcomes of this process alone would open the circuit."""
    opens = policy.strategy is Strategy.RATE
    return opens and gate.tallies.is_past_limit(policy, monotonic())


@_from_anywhere
def store_success(ticket: Ticket) -> None:
    """Report a success that may change the row."""
    ticket = ticket.holder
    gate, permit = ticket.gate, ticket.permit
    if gate.tallies.window is not None and permit.lease is None:
        merge(gate)
    elif is_slow(ticket):
        _store_slow(ticket)
    elif permit.lease is not None:
        _change_by_success(gate, permit, Note(success=True))
    else:
        if not knows_run(ticket):
            asking.current(gate)
        end_run(gate, permit)


def _store_slow(ticket: Ticket) -> None:
    """Report a slow call to the store: as slow if the strategy has a window, else as a failure."""
    gate = ticket.gate
    if not ticket.is_in_window:
        seconds = ticket.seconds(monotonic())
        store_failure(gate, ticket.permit, f"SlowCall: it took {seconds:.1f} seconds")
    elif _hear_in_window(ticket, slow=True):
        merge(gate)


def end_run(gate: Gate, permit: Permit) -> None:
    """Clear the shared run of failures, if this process knows of one."""
    view = gate.view
    if view.is_counting and view.snapshot is not None and gate.view.is_current(permit):
        gate.swap(lambda current: current.without_run())
        if not gate.store.clear_failures(view.snapshot, permit, gate.witness):
            _change_by_success(gate, permit)


def _change_by_success(gate: Gate, permit: Permit, note: Note = NO_NOTE) -> None:
    """Let the machine decide what a success changes."""
    witness = gate.witness
    asking.change(
        gate, lambda row: machine.succeed(row.status, row.policy, permit, row.now, witness), note
    )


def end_run_owed(gate: Gate) -> None:
    """Clear a run for an earlier success that did not know of it. Only the pulse calls this."""
    permit, gate.owes_clearing = gate.owes_clearing, None
    if permit is not None:
        end_run(gate, permit)


def knows_run(ticket: Ticket) -> bool:
    """Return whether this process's view is new enough to tell if there is a shared run to clear.

    A run may have begun after the call did, and the view may have aged since.
    """
    if conf.get().snapshot_seconds:
        return monotonic() < ticket.gate.view.fresh_until
    return monotonic() < ticket.started_at + BRIEF_SECONDS


def needs_only_a_look(ticket: Ticket) -> bool:
    """Return whether a success needs only a read, which one thread can make for all callers."""
    ticket = ticket.holder
    gate = ticket.gate
    is_plain = ticket.permit.lease is None and gate.tallies.window is None
    has_more = gate.view.is_counting or is_slow(ticket)
    return is_plain and not has_more and conf.get().snapshot_seconds > 0


def is_slow(ticket: Ticket) -> bool:
    """Return whether a call has taken ``slow_call_seconds`` or longer."""
    snapshot = ticket.gate.snapshot
    limit = snapshot.policy.slow_call_seconds if snapshot else 0.0
    # A plain call began before there was a limit, and is not looked after.
    is_timed = limit > 0 and ticket.started_at > 0 and not ticket.is_plain
    return is_timed and (ticket.paused_at or monotonic()) >= ticket.started_at + limit


# Calls that are overdue ----------------------------------------------------------------------


def count_overdue(ticket: Ticket) -> None:
    """Count a call as slow while it is under way, unless it has just ended.

    Its later outcome does not count again. Only the totals of a window, for which a slow
    call is not a failed one, count the call by its later outcome.
    """
    gate = ticket.gate
    if not ticket.count():
        return
    if ticket.is_in_window:
        if _hear_in_window(ticket, slow=True):
            merge(gate)
        return
    next(gate.tallies.failures)
    seconds = ticket.seconds(monotonic())
    store_failure(gate, ticket.permit, f"SlowCall: under way for {seconds:.1f} seconds")
    if gate.view.is_current(ticket.permit):
        ticket.watch_on(monotonic() + max(conf.get().snapshot_seconds, SETTLE_SECONDS))


def reconsider_overdue(ticket: Ticket) -> None:
    """Judge the shared run again, since a call that was counted in it still hangs."""
    gate, permit = ticket.gate, ticket.permit
    snapshot = asking.current(gate)
    is_over = permit.generation != snapshot.status.generation
    if is_over or snapshot.status.failure_count < snapshot.policy.threshold:
        return
    failure = Failure(own_run=0, settle_seconds=conf.get().snapshot_seconds, witness=gate.witness)
    asking.change(
        gate, lambda row: machine.reconsider(row.status, row.policy, permit, row.now, failure)
    )


def _note_overdue(ticket: Ticket, error: str) -> None:
    """Note the failure of a call that a window has counted as a slow one."""
    gate, snapshot = ticket.gate, ticket.gate.snapshot
    if ticket.is_in_window and snapshot is not None and gate.view.is_current(ticket.permit):
        gate.store.note_failure(snapshot, ticket.permit, error)


# Failures, and calls that count as nothing ---------------------------------------------------


@_from_anywhere
def fail(ticket: Ticket, error: str, retry_after: float | None = None) -> None:
    """Report that a call failed.

    Args:
        error: A line about the error, without secrets, since it is stored.
        retry_after: Seconds the remote asked callers to wait, if it did.
    """
    if nesting.leave(ticket, CallOutcome.FAILURE) is None:
        return
    ticket = ticket.holder
    if ticket.end(CallOutcome.FAILURE) or retry_after is not None:
        store_failure(ticket.gate, ticket.permit, error, retry_after)
    else:
        _note_overdue(ticket, error)


def release(ticket: Ticket) -> None:
    """Report that a call counts as nothing, and give back its place and its lease.

    A call that took ``slow_call_seconds`` or longer still counts as a slow one.
    """
    if is_released_in_memory(ticket):
        _release(ticket)
    else:
        _release_in_store(ticket)


def _release(ticket: Ticket) -> None:
    if ticket.is_plain and nesting.told(ticket.gate) is not None:
        return  # a call inside has reported its outcome
    outcome = nesting.leave(ticket, CallOutcome.IGNORED)
    ticket = ticket.holder
    if outcome is CallOutcome.SUCCESS:  # a call inside has succeeded
        if _hear_success(ticket):
            store_success(ticket)
    elif outcome is CallOutcome.IGNORED:
        _count_as_nothing(ticket)


_release_in_store = _from_anywhere(_release)


def _count_as_nothing(ticket: Ticket) -> None:
    is_overdue = is_slow(ticket)
    is_failure = is_overdue and not ticket.is_in_window
    if not ticket.end(CallOutcome.FAILURE if is_failure else CallOutcome.IGNORED):
        return
    if is_overdue:
        _store_slow(ticket)
    else:
        asking.release(ticket.gate, ticket.permit)


def is_released_in_memory(ticket: Ticket) -> bool:
    """Return whether a call can be released without asking the store."""
    return ticket.permit.lease is None and ticket.shared is None and not is_slow(ticket)


def store_failure(gate: Gate, permit: Permit, error: str, retry_after: float | None = None) -> None:
    """Report a failure: by one UPDATE if it opens nothing, else under the row lock."""
    snapshot = gate.snapshot
    if snapshot is None or not permit.counts or not gate.view.is_current(permit):
        return
    tallies, generation = gate.tallies, permit.generation
    # The run of failures counts only those that the store knows. A window is merged instead.
    is_in_row = tallies.window is None
    own_run = tallies.run_with(generation) if is_in_row else tallies.add_failure(generation)
    failure = Failure(
        own_run=own_run,
        settle_seconds=conf.get().snapshot_seconds,
        chance=gates.random.random(),
        retry_after=retry_after,
        witness=gate.witness,
    )
    try:
        _store_failure(gate, snapshot, permit, failure, error)
    finally:
        if is_in_row:
            tallies.add_failure(generation)


def _store_failure(
    gate: Gate, snapshot: Snapshot, permit: Permit, failure: Failure, error: str
) -> None:
    asked = machine.asked_delay(snapshot.policy, failure) is not None
    if permit.lease is None and not asked:
        if gate.tallies.window is not None:
            _fail_in_window(gate, snapshot, permit, error)
            return
        if _stays_closed(snapshot, failure) and gate.store.count_failure(
            snapshot, permit, failure, error
        ):
            gate.swap(lambda view: view.with_run())
            return
    asking.change(
        gate,
        lambda row: machine.fail(row.status, row.policy, permit, row.now, failure),
        Note(error=error),
    )


def _stays_closed(snapshot: Snapshot, failure: Failure) -> bool:
    """Return whether this process's own run opens nothing; the store decides on the shared run."""
    forced = snapshot.status.mode is Mode.FORCED_CLOSED
    return forced or failure.own_run < snapshot.policy.threshold


def _fail_in_window(gate: Gate, snapshot: Snapshot, permit: Permit, error: str) -> None:
    """Gather a failure for the window, and merge at once if it may decide something."""
    window = gate.tallies.window
    if window is None or window.generation != permit.generation:
        return
    window.hear(Outcome.FAILED)
    gate.store.note_failure(snapshot, permit, error)
    is_in_row = gate.tallies.own_run % windows.least_calls(snapshot.policy) == 0
    if is_in_row or _may_open(gate, snapshot.policy):
        merge(gate, error)


# Merging -------------------------------------------------------------------------------------


def merge(gate: Gate, error: str = "") -> None:
    """Merge the outcomes gathered for the window at once, since they may change what is admitted.

    Args:
        error: The failure that made this urgent, for the history.
    """
    snapshot = gate.snapshot
    settle = conf.get().flush_seconds
    taken = snapshot and gate.tallies.take_batch(snapshot.policy, monotonic(), settle, gate.witness)
    if not taken:
        return
    window, heard, batch = taken
    merged = False
    try:
        changed = asking.merge(gate, batch, Note(reason=error), is_shared=window.is_shared)
        merged = changed is not None
    except InDoubtError:
        merged = True  # it may have been merged, and must not count twice
        raise
    finally:
        if not merged:
            gate.tallies.give_back_batch(window, heard, monotonic())
    if changed is not None:
        announce(changed)
