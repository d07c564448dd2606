"""Local suspicion, shared conviction: whose failures open a circuit for all, and whose do not.

A process that has seen ``threshold`` failures in a row accuses the remote, and refuses its own
calls from then on. For the others the circuit opens only once the accusation is confirmed:

- no other process has lately had a success, so nobody speaks for the remote; or
- a second process accuses it too; or
- the run is ``SNAPSHOT_SECONDS`` old and no success elsewhere has cleared it.

A success elsewhere refutes the accusation instead. Then the accuser alone is in *quarantine*: it
goes on refusing, tries by itself after a delay that doubles, and takes no part in the decisions of
the others until one of its calls succeeds.

The circuit's status holds everything that is needed to decide, so any process that holds the row
can. Processes are known by short opaque ids. An empty id stands for an unknown process.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from .policy import Policy
from .status import Failure, Quarantine, State, Status, Witness

#: The value of ``Status.run_by`` for several processes.
MANY: Final = "*"

#: Seconds for which a process that accused the remote alone lets others try it first.
YIELD_SECONDS: Final = 1.0

#: The least number of seconds after which a quarantine is forgotten if its process does not return.
FORGET_SECONDS: Final = 60.0

#: The most processes in quarantine at once. Further processes begin a new run of failures instead.
MOST_QUARANTINES: Final = 100

#: The most failed tries that double the pause of a quarantine.
MOST_DOUBLINGS: Final = 5


# Who speaks for the remote -----------------------------------------------------------------------


def heard_success(status: Status, process: str, now: float) -> Status:
    """Return the status after noting a success of a process."""
    if process == status.succeeded_by:
        return replace(status, last_success_at=now)
    return replace(
        status,
        last_success_at=now,
        succeeded_by=process,
        other_succeeded_at=status.last_success_at,
    )


def other_succeeded_at(status: Status, process: str) -> float | None:
    """Return when another process last succeeded; None if that is unknown."""
    if not status.succeeded_by:
        return None  # for an unknown process, no success is known to be another's
    is_own = status.succeeded_by == process
    return status.other_succeeded_at if is_own else status.last_success_at


def others_succeed(status: Status, witness: Witness, now: float) -> bool:
    """Return whether another process has lately had a success."""
    at = other_succeeded_at(status, witness.process)
    return at is not None and abs(now - at) < witness.recent_seconds


# Accusing ----------------------------------------------------------------------------------------


def joined(status: Status, process: str) -> str:
    """Return ``Status.run_by`` once this process takes part in the run of failures."""
    is_alone = not status.failure_count or status.run_by == process
    return process if process and is_alone else MANY


def is_lone(run_by: str) -> bool:
    """Return whether only one known process takes part in a run."""
    return run_by not in ("", MANY)


def opens(status: Status, policy: Policy, now: float, failure: Failure) -> bool:
    """Return whether a run of failures, including the last one, opens the circuit for all."""
    if status.failure_count < policy.threshold or status.run_started_at is None:
        return False
    accuses = accuses_by_run(status, policy, failure)
    if accuses and not others_succeed(status, failure.witness, now):
        return True
    if not failure.settle_seconds and not is_lone(status.run_by):
        return True  # the count is exact, and several processes have failed
    if accuses and is_accused_by_another(status, failure.witness.process):
        return True
    settle = failure.settle_seconds or failure.witness.judge_seconds
    return has_passed(settle, status.run_started_at, now)


def has_passed(seconds: float, since: float, now: float) -> bool:
    """Return whether ``seconds`` have passed since a time, or the clock was set back by as many.

    Sums are compared, since ``since + seconds - since`` may be less than ``seconds``.
    """
    return not since - seconds < now < since + seconds


def accuses_by_run(status: Status, policy: Policy, failure: Failure) -> bool:
    """Return whether a process has seen ``threshold`` failures in a row, including the last one.

    The process knows those of its failures that the store has counted. Failures that its other
    threads are just reporting are only in the row's run. That run counts as its own too, unless it
    had a success in the meantime.
    """
    witness = failure.witness
    is_its_own = is_lone(status.run_by) and status.run_by == witness.process
    run = status.failure_count if is_its_own and not _fell_into_run(status, witness) else 0
    return max(failure.own_run, run) >= policy.threshold


def _fell_into_run(status: Status, witness: Witness) -> bool:
    """Return whether a process has had a success since the present run began."""
    started, succeeded = status.run_started_at, witness.succeeded_at
    return started is not None and succeeded is not None and succeeded > started


def is_accused_by_another(status: Status, process: str) -> bool:
    """Return whether a process other than this one accuses the remote."""
    return status.accuser not in ("", process)


def verdict_in(status: Status, witness: Witness, now: float) -> float | None:
    """Return the seconds until this process's accusation is decided; None if it makes none."""
    if not witness.process or status.accuser != witness.process:
        return None
    started = now if status.run_started_at is None else status.run_started_at
    return max(0.0, witness.judge_seconds - abs(now - started))


def can_refute(status: Status, witness: Witness, now: float) -> bool:
    """Return whether a success of this process refutes what only another process says."""
    started, succeeded = status.run_started_at, witness.succeeded_at
    if started is None or succeeded is None or succeeded <= started:
        return False
    if status.state is State.CLOSED:
        return is_accused_by_another(status, witness.process)
    is_news = not status.reopen_count and abs(now - succeeded) < witness.recent_seconds
    is_lone_accusation = is_lone(status.run_by) and status.run_by != witness.process
    return status.state is State.OPEN and is_news and is_lone_accusation


def refuted(status: Status, policy: Policy, process: str, now: float) -> Status:
    """Return the status after a success of this process, which puts the accuser into quarantine."""
    accuser = status.accuser
    cleared = replace(status, failure_count=0, run_started_at=None, run_by="", accuser="")
    if accuser in ("", process):
        return cleared
    return quarantined(cleared, policy, accuser, now)


# In quarantine -----------------------------------------------------------------------------------


def quarantine_of(status: Status, process: str) -> Quarantine | None:
    """Return the quarantine of a process; None if it is not in quarantine."""
    if not process:
        return None
    return next((each for each in status.quarantines if each.process == process), None)


def quarantined(status: Status, policy: Policy, process: str, now: float) -> Status:
    """Return the status with a process in quarantine; after a failed try, for longer."""
    known = quarantine_of(status, process)
    tries = 1 if known is None else known.tries + 1
    longest = max(policy.max_delay, policy.delay)
    until = now + min(policy.delay * 2 ** min(tries - 1, MOST_DOUBLINGS), longest)
    since = now if known is None or not known.tries else known.since
    return _with(status, policy, Quarantine(process, since, until, tries), now)


def on_probation(status: Status, policy: Policy, process: str, now: float) -> Status:
    """Return the status with a process whose next call is a trial of its own."""
    return _with(status, policy, Quarantine(process, now, now, 0), now)


def remaining(own: Quarantine, now: float) -> float:
    """Return the seconds until a process in quarantine may try by itself."""
    if now < own.since:
        return 0.0  # the clock was set back; the quarantine must not last as long as the jump
    return max(0.0, own.until - now)


def trying(status: Status, known: Quarantine, until: float, token: str) -> Status:
    """Return the status with the trial of a process in quarantine begun, or given up."""
    after = replace(known, until=until, token=token)
    return replace(
        status, quarantines=tuple(after if each is known else each for each in status.quarantines)
    )


def freed(status: Status, process: str) -> Status:
    """Return the status without the quarantine of a process."""
    if quarantine_of(status, process) is None:
        return status
    return replace(
        status, quarantines=tuple(each for each in status.quarantines if each.process != process)
    )


def live_quarantines(status: Status, policy: Policy, now: float) -> tuple[Quarantine, ...]:
    """Return the quarantines whose processes may still come back."""
    patience = max(FORGET_SECONDS, policy.delay, policy.lease_seconds)
    return tuple(each for each in status.quarantines if now < each.until + patience)


def _with(status: Status, policy: Policy, new: Quarantine, now: float) -> Status:
    live = live_quarantines(status, policy, now)
    others = tuple(each for each in live if each.process != new.process)
    if len(others) >= MOST_QUARANTINES:
        return status
    return replace(status, quarantines=(*others, new))


# Recovering --------------------------------------------------------------------------------------


def yields_for(status: Status, witness: Witness, now: float) -> float:
    """Return the seconds for which this process lets the others try a half-open circuit first.

    A process that opened it alone, or failed the last trial, may itself be broken.
    """
    if status.changed_at is None or not witness.process:
        return 0.0
    own = quarantine_of(status, witness.process)
    if own is None and not (status.accuser == witness.process and _has_others(status, witness)):
        return 0.0
    left = YIELD_SECONDS - (now - status.changed_at)
    yields = left if 0.0 < left <= YIELD_SECONDS else 0.0
    return yields if own is None else max(yields, remaining(own, now))


def _has_others(status: Status, witness: Witness) -> bool:
    """Return whether another process had a success shortly before the run began, or since."""
    at = other_succeeded_at(status, witness.process)
    began = status.opened_at if status.run_started_at is None else status.run_started_at
    return at is not None and began is not None and at >= began - witness.recent_seconds
