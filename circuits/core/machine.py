"""The state machine of a circuit: pure functions over frozen dataclasses.

It has no Django, no I/O, no clock and no randomness. Times are seconds on the caller's clock (the
store passes the database's), and randomness is passed in as a number.

Every function takes a :class:`Status` and returns a :class:`Step`: the new status, and the
:class:`Change` if the state or the mode changed. If nothing happened, ``step.status`` is the very
object that was passed in, so a caller can tell by identity that there is nothing to write.

Generations follow gobreaker's two-step breaker: a permit carries the generation it was given in,
and a result from another generation changes nothing.

Whose failures open a circuit for all is decided in :mod:`circuits.core.conviction`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from . import conviction, throttle, windows
from .clocks import CLOCK_SKEW
from .conviction import opens
from .injection import Injection, under_way
from .policy import Policy, Strategy
from .status import (
    NOBODY,
    Admission,
    Batch,
    Change,
    Failure,
    Lease,
    Mode,
    Permit,
    Quarantine,
    Reason,
    State,
    Status,
    Step,
    Witness,
)
from .windows import Outcome

#: The first generation of a circuit kept in one process's memory. Counting up from here never
#: reaches the generations of the shared row, so no result of the one counts in the other.
MEMORY_GENERATION: Final = -(2**62)

#: The share of calls that pass when a ramp-up begins.
RAMP_START: Final = 0.1

#: The longest ``retry_after`` of a refusal in half_open, in seconds: most trials end sooner.
TRIAL_RETRY_SECONDS: Final = 1.0

#: The most failed recoveries that grow the delay. 100 ** 64 still fits in a float, and any cap is
#: reached long before.
MOST_GROWTHS: Final = 64


# Asking for a permit ---------------------------------------------------------------------------


def admit(
    status: Status,
    policy: Policy,
    now: float,
    token: str,
    chance: float = 0.0,
    witness: Witness = NOBODY,
) -> Admission:
    """Give a permit to make one call, or refuse it.

    Args:
        token: A new unique string, which names the lease if this call becomes a trial.
        chance: A random number in [0, 1). It decides which calls pass during a ramp-up, and which
            refusals are enforced if only a share of them is.
        witness: The process that asks.
    """
    due = expire(status, now)
    if due.change is None:
        due = testify(status, policy, now, witness)
    admission = _admit_by_mode(due.status, policy, now, token, chance, witness)
    return admission if due.change is None else replace(admission, change=due.change)


def _admit_by_mode(
    status: Status, policy: Policy, now: float, token: str, chance: float, witness: Witness
) -> Admission:
    if status.mode is Mode.FORCED_CLOSED:
        return Admission(status, permit=Permit(status.generation))
    if status.mode is Mode.FORCED_OPEN:
        # Only a person ends this, so the delay is as good a time as any to ask again.
        remaining = policy.delay if status.mode_until is None else status.mode_until - now
        return Admission(status, retry_after=remaining)
    is_spared, chance = _spared(enforced_share(status.mode, policy), chance)
    admission = _admit_by_state(status, policy, now, token, chance, witness)
    if admission.permit is None and is_spared:
        return replace(admission, permit=Permit(status.generation, counts=False))
    return admission


def enforced_share(mode: Mode, policy: Policy) -> float:
    """Return the share of refusals that is enforced: all in forced_open, none in observe."""
    if mode is Mode.FORCED_OPEN:
        return 1.0
    return 0.0 if mode is Mode.OBSERVE else policy.enforce_share


def _spared(share: float, chance: float) -> tuple[bool, float]:
    """Return whether a refusal would not be enforced, and a new random number.

    The number is derived from ``chance`` and independent of the answer, for the ramp-up.
    """
    spared = 1.0 - share
    if chance < spared:
        return True, chance / spared
    return False, (chance - spared) / share


def _admit_by_state(
    status: Status, policy: Policy, now: float, token: str, chance: float, witness: Witness
) -> Admission:
    if status.state is State.HALF_OPEN:
        waits = conviction.yields_for(status, witness, now)
        if waits:
            return Admission(status, retry_after=waits)
        return _admit_trial(status, policy, now, token)
    if status.state is State.OPEN:
        return Admission(status, retry_after=open_remaining(status, now))
    own = conviction.quarantine_of(status, witness.process)
    if own is not None:
        return _admit_alone(status, policy, now, token, own)
    if refuses_itself(status, policy, witness):
        verdict = conviction.verdict_in(status, witness, now) or 0.0
        return Admission(status, retry_after=verdict or TRIAL_RETRY_SECONDS)
    if chance >= passing_share(status, policy, now, witness):
        remaining = ramp_remaining(status, policy, now) or TRIAL_RETRY_SECONDS
        return Admission(status, retry_after=min(remaining, TRIAL_RETRY_SECONDS))
    return Admission(status, permit=Permit(status.generation))


def passing_share(status: Status, policy: Policy, now: float, witness: Witness = NOBODY) -> float:
    """Return the share of calls that pass a closed circuit: all, unless it ramps up or throttles.

    A process refuses no larger share than its own calls ask for, so that one broken process
    throttles nobody else.
    """
    refused = min(throttle.share_of(status.window, policy, now), witness.asked_share)
    return ramp_share(status, policy, now) * (1 - refused)


def _admit_alone(
    status: Status, policy: Policy, now: float, token: str, own: Quarantine
) -> Admission:
    """Refuse a process in quarantine, or let it make its own trial."""
    wait = conviction.remaining(own, now)
    if wait:
        return Admission(status, retry_after=wait, is_alone=True)
    trying = conviction.trying(status, own, now + policy.lease_seconds, token)
    return Admission(trying, permit=Permit(status.generation, token))


def refuses_itself(status: Status, policy: Policy, witness: Witness) -> bool:
    """Return whether a process refuses its own calls, because it accuses the remote."""
    is_accuser = bool(witness.process) and status.accuser == witness.process
    return is_accuser and status.state is State.CLOSED and _guilt(status, policy) is not None


def testify(status: Status, policy: Policy, now: float, witness: Witness) -> Step:
    """Make the change that this process's own outcomes bring about, if there is one.

    They confirm its own accusation if nobody has refuted it in time. Or a success of it refutes
    what another process alone has said: an accusation, or an opening that the other process made
    before it could hear of any success.
    """
    if status.mode in (Mode.FORCED_OPEN, Mode.FORCED_CLOSED):
        return Step(status)
    if conviction.can_refute(status, witness, now):
        return _refute(status, policy, now, witness)
    return judge(status, policy, now, witness)


def _refute(status: Status, policy: Policy, now: float, witness: Witness) -> Step:
    if status.state is State.CLOSED:
        cleared = conviction.refuted(status, policy, witness.process, now)
        return Step(_heard(replace(cleared, window=windows.EMPTY), witness, now))
    alone = conviction.quarantined(status, policy, status.run_by, now)
    return _close(alone, now, Reason.REFUTED)


def judge(status: Status, policy: Policy, now: float, witness: Witness) -> Step:
    """Open the circuit if nobody has refuted this process's accusation in time."""
    if status.state is not State.CLOSED or status.mode is Mode.FORCED_CLOSED:
        return Step(status)
    reason = _guilt(status, policy)
    if reason is None or conviction.verdict_in(status, witness, now) != 0.0:
        return Step(status)
    return _open(replace(status, run_by=status.run_by or status.accuser), now, policy.delay, reason)


def _guilt(status: Status, policy: Policy) -> Reason | None:
    """Return why the calls counted so far would open the circuit; None if they would not."""
    if policy.strategy is Strategy.THROTTLE:
        return None
    if policy.strategy is Strategy.RATE:
        return _over_limit(status, policy)
    return Reason.FAILURES if status.failure_count >= policy.threshold else None


def _over_limit(status: Status, policy: Policy) -> Reason | None:
    counts = windows.totals(status.window)
    if windows.too_many_failures(counts, policy):
        return Reason.FAILURE_RATE
    return Reason.SLOW_CALLS if windows.too_many_slow(counts, policy) else None


def ramp_remaining(status: Status, policy: Policy, now: float) -> float:
    """Return the seconds until all calls pass again after a recovery."""
    if not policy.ramp_up_seconds or status.recovered_at is None:
        return 0.0
    if now < status.recovered_at - CLOCK_SKEW:
        return 0.0  # the clock was set back; the ramp-up must not last as long as the jump
    left = status.recovered_at + policy.ramp_up_seconds - now
    return max(0.0, min(left, policy.ramp_up_seconds))


def ramp_share(status: Status, policy: Policy, now: float) -> float:
    """Return the share of calls that a ramp-up lets pass; 1 once it is over."""
    remaining = ramp_remaining(status, policy, now)
    return max(1 - remaining / policy.ramp_up_seconds, RAMP_START) if remaining else 1.0


def _admit_trial(status: Status, policy: Policy, now: float, token: str) -> Admission:
    live = live_leases(status, policy.lease_seconds, now)
    if len(live) >= policy.half_open_max_calls:
        first_free = min(lease.expires_at for lease in live) - now
        return Admission(status, retry_after=min(first_free, TRIAL_RETRY_SECONDS))
    lease = Lease(token, now + policy.lease_seconds)
    return Admission(
        replace(status, leases=(*live, lease)), permit=Permit(status.generation, token)
    )


def live_leases(status: Status, lease_seconds: float, now: float) -> tuple[Lease, ...]:
    """Return the leases that have not expired."""
    # A lease that outlasts a new one is from before the clock was set back; its holder may be dead.
    longest = now + lease_seconds + CLOCK_SKEW
    return tuple(lease for lease in status.leases if now < lease.expires_at <= longest)


# Reporting a result ----------------------------------------------------------------------------


def succeed(
    status: Status, policy: Policy, permit: Permit, now: float, witness: Witness = NOBODY
) -> Step:
    """Record the success of a call."""
    if not _counts(status, permit):
        return Step(status)
    if status.state is State.HALF_OPEN:
        return _succeed_trial(status, policy, permit, now, witness)
    freed = conviction.freed(status, witness.process)
    if policy.has_window:
        return merge(freed, policy, now, _batch_of(permit, Outcome.GOOD, now, witness))
    if not freed.failure_count and not freed.accuser:
        return Step(status if freed is status else _heard(freed, witness, now))
    cleared = conviction.refuted(freed, policy, witness.process, now)
    return Step(_heard(cleared, witness, now))


def fail(status: Status, policy: Policy, permit: Permit, now: float, failure: Failure) -> Step:
    """Record the failure of a call."""
    if not _counts(status, permit):
        return Step(status)
    if status.state is State.HALF_OPEN:
        return _fail_trial(status, policy, now, failure)
    asked = asked_delay(policy, failure)
    if asked is not None and status.mode is not Mode.FORCED_CLOSED:
        return _open(replace(status, run_by=conviction.MANY), now, asked, Reason.RETRY_AFTER)
    if _is_left_alone(status, failure.witness):
        return _fail_alone(status, policy, permit, now, failure.witness)
    if policy.has_window:
        return merge(status, policy, now, _batch_of(permit, Outcome.FAILED, now, failure.witness))
    return _fail_in_row(status, policy, now, failure)


def _fail_in_row(status: Status, policy: Policy, now: float, failure: Failure) -> Step:
    """Count a failure for the consecutive strategy."""
    process = failure.witness.process
    counted = replace(
        status,
        failure_count=status.failure_count + 1,
        run_started_at=now if status.run_started_at is None else status.run_started_at,
        run_by=conviction.joined(status, process),
    )
    if counted.mode is Mode.FORCED_CLOSED:
        return Step(counted)
    if opens(counted, policy, now, failure):
        return _open(counted, now, policy.delay, Reason.FAILURES)
    if not (process and conviction.accuses_by_run(counted, policy, failure)):
        return Step(counted)
    if counted.failure_count < policy.threshold:
        if not conviction.others_succeed(status, failure.witness, now):
            return Step(counted)
        # Another process succeeded during this run, so only this process is failing.
        return Step(conviction.quarantined(status, policy, process, now))
    return Step(replace(counted, accuser=counted.accuser or process))


def _is_left_alone(status: Status, witness: Witness) -> bool:
    """Return whether a process is in quarantine, so that its outcomes do not concern the others."""
    is_alone = conviction.quarantine_of(status, witness.process) is not None
    return is_alone and status.mode is not Mode.FORCED_CLOSED


def _fail_alone(
    status: Status, policy: Policy, permit: Permit, now: float, witness: Witness
) -> Step:
    """Record a failure of a process in quarantine; only its own trial prolongs that."""
    if permit.lease is None:
        return Step(status)
    return Step(conviction.quarantined(status, policy, witness.process, now))


def merge(status: Status, policy: Policy, now: float, batch: Batch) -> Step:
    """Merge the outcomes a process has gathered into the window of the strategy."""
    if batch.generation != status.generation or status.state is not State.CLOSED:
        return Step(status)
    if _is_left_alone(status, batch.witness):
        return Step(status)
    window = windows.merged(status.window, policy, now, batch.counts, batch.recent)
    after = replace(status, window=window)
    if status.mode is Mode.FORCED_CLOSED or policy.strategy is Strategy.THROTTLE:
        return Step(after)
    if status.accuser and _refutes(status, batch):
        return Step(_refuted_by(after, policy, now, batch))
    accuses = batch.own_run >= windows.least_calls(policy)
    reason = _over_limit(after, policy)
    if reason is not None and _convicts(after, policy, now, batch, accuses=accuses):
        is_alone = accuses and not conviction.is_accused_by_another(after, batch.witness.process)
        run_by = batch.witness.process if is_alone else ""
        convicted = replace(after, run_by=run_by or conviction.MANY)
        evidence = windows.evidence(windows.totals(window), policy)
        return _open(convicted, now, policy.delay, reason, evidence=evidence)
    if accuses and not status.accuser and conviction.others_succeed(status, batch.witness, now):
        return Step(replace(after, accuser=batch.witness.process, run_started_at=now))
    return Step(after)


def _refutes(status: Status, batch: Batch) -> bool:
    """Return whether a batch has a success that is later than the accusation."""
    started, succeeded = status.run_started_at, batch.witness.succeeded_at
    return succeeded is not None and (started is None or succeeded > started)


def _refuted_by(status: Status, policy: Policy, now: float, batch: Batch) -> Status:
    """Return the status with the accuser in quarantine, and without the outcomes it had merged."""
    process = batch.witness.process
    cleared = _heard(conviction.refuted(status, policy, process, now), batch.witness, now)
    if status.accuser == process:
        return cleared
    alone = windows.merged(windows.EMPTY, policy, now, batch.counts, batch.recent)
    return replace(cleared, window=alone)


def _convicts(status: Status, policy: Policy, now: float, batch: Batch, *, accuses: bool) -> bool:
    """Return whether a window past its limit opens the circuit: the rate's opening rule.

    A process past the limit merges at once, the others only when they flush. So a young window
    holds mostly the outcomes of unlucky processes, until every process has had time to merge.
    """
    if accuses and conviction.is_accused_by_another(status, batch.witness.process):
        return True
    if accuses and conviction.others_succeed(status, batch.witness, now) and not status.accuser:
        return False
    if status.accuser:
        started = now if status.run_started_at is None else status.run_started_at
        return conviction.has_passed(batch.witness.judge_seconds, started, now)
    if accuses or status.changed_at is None:
        return True
    return now >= status.changed_at + batch.settle_seconds


def _heard(status: Status, witness: Witness, now: float) -> Status:
    return conviction.heard_success(status, witness.process, now) if witness.process else status


def asked_delay(policy: Policy, failure: Failure) -> float | None:
    """Return the seconds the remote asked for, capped; None if it did not, or is not heeded."""
    asked = failure.retry_after or 0.0
    if asked <= 0 or not policy.respect_retry_after:
        return None
    return min(asked, max(policy.max_delay, policy.delay))


def _succeed_trial(
    status: Status, policy: Policy, permit: Permit, now: float, witness: Witness
) -> Step:
    process = witness.process
    heard = _heard(conviction.freed(status, process), witness, now)
    successes = status.trial_successes + 1
    if successes < policy.success_threshold:
        leases = _without(status.leases, permit.lease)
        return Step(replace(heard, trial_successes=successes, leases=leases))
    alone = status.run_by
    is_refuted = conviction.is_lone(alone) and process not in ("", alone)
    if is_refuted and conviction.quarantine_of(status, alone) is None:
        heard = conviction.on_probation(heard, policy, alone, now)
    return _close(heard, now, Reason.TRIAL_SUCCEEDED, recovered_at=now)


def _fail_trial(status: Status, policy: Policy, now: float, failure: Failure) -> Step:
    process = failure.witness.process
    reopened = replace(
        status,
        reopen_count=status.reopen_count + 1,
        run_by=process if status.run_by == process else conviction.MANY,
        accuser=process,
    )
    wait = grown_delay(policy, reopened.reopen_count, failure.chance)
    asked = asked_delay(policy, failure)
    return _open(reopened, now, max(wait, asked or 0.0), Reason.TRIAL_FAILED, accuser=process)


def _batch_of(permit: Permit, outcome: Outcome, now: float, witness: Witness) -> Batch:
    return Batch(
        generation=permit.generation,
        counts=windows.counted(outcome),
        recent=outcome.value,
        witness=replace(witness, succeeded_at=now if outcome is Outcome.GOOD else None),
    )


def release(status: Status, permit: Permit) -> Step:
    """Give a permit back unused: the call was cancelled, or its outcome counts as nothing."""
    if status.state is State.CLOSED and permit.lease is not None:
        return _hold_alone(status, permit, until=None)
    leases = _without(status.leases, permit.lease)
    if permit.generation != status.generation or leases == status.leases:
        return Step(status)
    return Step(replace(status, leases=leases))


def renew(status: Status, policy: Policy, permit: Permit, now: float) -> Step:
    """Extend the lease of a trial whose holder lives, unless others have taken its place."""
    if permit.generation != status.generation or permit.lease is None:
        return Step(status)
    if status.state is State.CLOSED:
        return _hold_alone(status, permit, now + policy.lease_seconds)
    others = _without(live_leases(status, policy.lease_seconds, now), permit.lease)
    leases = (*others, Lease(permit.lease, now + policy.lease_seconds))
    if len(leases) > policy.half_open_max_calls or leases == status.leases:
        return Step(status)
    return Step(replace(status, leases=leases))


def _hold_alone(status: Status, permit: Permit, until: float | None) -> Step:
    """Extend the trial of a process in quarantine until a time; None gives the trial back."""
    for own in status.quarantines:
        if own.token == permit.lease and permit.generation == status.generation:
            token = "" if until is None else own.token
            held = conviction.trying(status, own, own.since if until is None else until, token)
            return Step(held)
    return Step(status)


def reconsider(
    status: Status, policy: Policy, permit: Permit, now: float, failure: Failure
) -> Step:
    """Open a circuit if its run of failures is old enough by now and one of its calls still hangs.

    When a remote hangs, all calls under way become overdue at about the same time. The run is too
    young then, and no further failure may come for long.
    """
    if not _counts(status, permit) or status.mode is Mode.FORCED_CLOSED:
        return Step(status)
    is_run = status.state is State.CLOSED and policy.strategy is Strategy.CONSECUTIVE
    if is_run and opens(status, policy, now, failure):
        return _open(status, now, policy.delay, Reason.FAILURES)
    return Step(status)


def opening_of(status: Status) -> int:
    """Return the generation in which a circuit last went from closed to open.

    Each trial that has failed since raised the generation twice: to half_open and back to open.
    """
    is_trying = status.state is State.HALF_OPEN
    return status.generation - 2 * status.reopen_count - is_trying


def grown_delay(policy: Policy, reopen_count: int, chance: float) -> float:
    """Return the seconds to wait after ``reopen_count`` failed recoveries, jitter included."""
    grown = policy.delay * policy.backoff_factor ** min(reopen_count, MOST_GROWTHS)
    capped = min(grown, max(policy.max_delay, policy.delay))
    return capped * (1 - policy.jitter * chance)


def _counts(status: Status, permit: Permit) -> bool:
    """Return whether the result of a call may still change anything."""
    if permit.generation != status.generation or not permit.counts:
        return False
    if status.state is State.HALF_OPEN:
        # A trial counts even if its lease has ended, since slow answers must decide too.
        return permit.lease is not None
    return status.state is State.CLOSED


def _without(leases: tuple[Lease, ...], token: str | None) -> tuple[Lease, ...]:
    return tuple(lease for lease in leases if lease.token != token)


# Time and staff --------------------------------------------------------------------------------


def expire(status: Status, now: float) -> Step:
    """Make the change that is due by time alone, if there is one.

    A mode that was set for a while goes back to automatic, and an open circuit whose delay has
    passed becomes half_open. If both are due, they are one change.
    """
    is_over = status.mode_until is not None and now >= status.mode_until
    mode = Mode.AUTOMATIC if is_over else status.mode
    recovers = mode in (Mode.AUTOMATIC, Mode.OBSERVE)
    new: dict[str, Any] = {"mode": mode, "mode_until": None} if is_over else {}
    if recovers and status.state is State.OPEN and not open_remaining(status, now):
        new |= {"state": State.HALF_OPEN, "retry_at": None, "trial_successes": 0}
    if not new:
        return Step(status)
    return _move(status, now, Reason.MODE_OVER if is_over else Reason.DELAY_PASSED, **new)


def open_remaining(status: Status, now: float) -> float:
    """Return the seconds for which an open circuit still refuses calls.

    Return 0 if the clock was set back to before the opening: nobody can tell how long ago that
    was, and an early trial costs less than a circuit that stays open for as long as the jump.
    """
    if status.retry_at is None or now < (status.opened_at or now) - CLOCK_SKEW:
        return 0.0
    return max(0.0, status.retry_at - now)


def try_now(status: Status, now: float) -> Step:
    """Let an open circuit try at once, as if its delay had passed. A forced one stays as it is.

    The circuit becomes half_open, in which the next call of any process is a trial.
    """
    if status.state is not State.OPEN or status.mode is Mode.FORCED_OPEN:
        return Step(status)
    # Somebody has asked for a trial, so the accuser need not let others try first.
    return _move(
        status,
        now,
        Reason.TRY_NOW,
        state=State.HALF_OPEN,
        retry_at=None,
        trial_successes=0,
        accuser="",
    )


def reset(status: Status, now: float) -> Step:
    """Close the circuit and forget its failures. The mode stays, so forced_open stays open."""
    if status.mode is Mode.FORCED_OPEN:
        return Step(status)
    if status.state is not State.CLOSED:
        return _close(status, now, Reason.RESET, quarantines=())
    cleared = replace(
        status,
        failure_count=0,
        run_started_at=None,
        window=windows.EMPTY,
        run_by="",
        accuser="",
        quarantines=(),
    )
    return Step(status if cleared == status else cleared)


def set_mode(status: Status, mode: Mode, now: float, until: float | None = None) -> Step:
    """Set the circuit's mode, or when its present mode ends.

    A forced mode sets the state too, so the two never contradict each other. After forced_open
    the next call is a trial; after forced_closed the failures recorded meanwhile count.

    Args:
        until: When the mode goes back to automatic; None means when somebody sets it back.
            It is ignored for automatic, which does not end.
    """
    new: dict[str, Any] = {"mode": mode, "mode_until": None if mode is Mode.AUTOMATIC else until}
    if mode is status.mode:
        is_same = new["mode_until"] == status.mode_until
        return Step(status) if is_same else _move(status, now, Reason.MODE, **new)
    if mode is Mode.FORCED_CLOSED:
        return _close(status, now, Reason.MODE, **new)
    if mode is Mode.FORCED_OPEN:
        opened = now if status.opened_at is None else status.opened_at
        believed = replace(status, run_by=conviction.MANY)
        return _open(believed, now, 0.0, Reason.MODE, **new, opened_at=opened)
    return _move(status, now, Reason.MODE, **new)


def inject(status: Status, injection: Injection | None, now: float) -> Step:
    """Inject faults into the calls of a circuit, or end that.

    Outcomes of calls from before do not count any more.

    Args:
        injection: The faults, which end by themselves; None ends those that are under way.
    """
    if injection is None and under_way(status.injection, now) is None:
        return Step(status)
    step = _move(status, now, Reason.INJECTION, injection=injection)
    until = None if injection is None else injection.until
    return Step(step.status, step.change and replace(step.change, until=until))


def in_memory(status: Status, shift: float) -> Status:
    """Return the status with which one process continues alone while the database is down.

    Args:
        shift: Seconds to add to each time, to convert the shared clock to the process's own.
    """

    def moved(at: float | None) -> float | None:
        return None if at is None else at + shift

    injection = status.injection
    return replace(
        status,
        generation=MEMORY_GENERATION,
        leases=(),
        run_started_at=moved(status.run_started_at),
        opened_at=moved(status.opened_at),
        down_since=moved(status.down_since),
        retry_at=moved(status.retry_at),
        recovered_at=moved(status.recovered_at),
        window=windows.EMPTY,
        changed_at=moved(status.changed_at),
        mode_until=moved(status.mode_until),
        # In memory there are no other processes.
        run_by="",
        accuser="",
        quarantines=(),
        last_success_at=None,
        succeeded_by="",
        other_succeeded_at=None,
        injection=injection and replace(injection, until=injection.until + shift),
    )


def _open(status: Status, now: float, wait: float, reason: Reason, **new: Any) -> Step:
    opening: dict[str, Any] = {
        "accuser": status.run_by if conviction.is_lone(status.run_by) else "",
        "state": State.OPEN,
        "opened_at": now,
        "down_since": now if status.down_since is None else status.down_since,
        "retry_at": now + wait,
        "recovered_at": None,
        "window": windows.EMPTY,
    }
    return _move(status, now, reason, **(opening | new))


def _close(status: Status, now: float, reason: Reason, **new: Any) -> Step:
    closing: dict[str, Any] = {
        "run_by": "",
        "accuser": "",
        "state": State.CLOSED,
        "failure_count": 0,
        "run_started_at": None,
        "opened_at": None,
        "down_since": None,
        "retry_at": None,
        "reopen_count": 0,
        "trial_successes": 0,
        "recovered_at": None,
        "window": windows.EMPTY,
    }
    return _move(status, now, reason, **(closing | new))


def _move(status: Status, now: float, reason: Reason, evidence: str = "", **new: Any) -> Step:
    """Change the state, the mode or the faults, and begin a new generation without leases.

    No other function does.
    """
    after = replace(status, generation=status.generation + 1, leases=(), changed_at=now, **new)
    return Step(
        after,
        Change(
            from_state=status.state,
            to_state=after.state,
            from_mode=status.mode,
            to_mode=after.mode,
            generation=after.generation,
            reason=reason,
            at=now,
            until=after.mode_until,
            evidence=evidence,
        ),
    )
