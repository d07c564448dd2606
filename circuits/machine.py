"""The state machine of a circuit: pure functions over frozen dataclasses.

No Django, no I/O, no clock and no randomness of its own: times are seconds on a clock of the
caller's (the store passes the database's), and chance is passed in as a number.

Every function takes a :class:`Status` and returns a :class:`Step`: the status after, and the
:class:`Change` if the state or the mode changed. Where nothing happened, ``step.status`` is the
very object that came in, so a caller can tell by identity that there is nothing to write.

Generations follow gobreaker's two-step breaker: a permit carries the generation it was given in,
and a result of another generation changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

from . import windows
from .exceptions import InvalidInputError, shown
from .exceptions import gettext_noop as _
from .windows import Counts, Outcome, Window

#: The longest time a policy may name, in seconds: one year.
LONGEST: Final = 365 * 24 * 3600

#: The first generation of a circuit kept in one process's memory. Counting up from here never
#: reaches the generations of the shared row, so no result of the one counts in the other.
MEMORY_GENERATION: Final = -(2**62)

#: The share of the calls that a ramp-up begins with.
RAMP_START: Final = 0.1

#: Seconds by which the clocks of database servers that stand in for each other may differ. What
#: lies further in the future than it can has been left there by a clock that was set back.
CLOCK_SKEW: Final = 1.0

#: The most a refusal in half_open asks callers to wait, in seconds: a trial mostly ends sooner.
TRIAL_RETRY_SECONDS: Final = 1.0


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Mode(StrEnum):
    AUTOMATIC = "automatic"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"
    OBSERVE = "observe"


class Strategy(StrEnum):
    """What opens a closed circuit: failures in a row, or their share of the calls."""

    CONSECUTIVE = "consecutive"
    RATE = "rate"


class Reason(StrEnum):
    """Why a state or mode changed."""

    FAILURES = "failures"
    FAILURE_RATE = "failure_rate"
    SLOW_CALLS = "slow_calls"
    RETRY_AFTER = "retry_after"
    DELAY_PASSED = "delay_passed"
    TRIAL_SUCCEEDED = "trial_succeeded"
    TRIAL_FAILED = "trial_failed"
    RESET = "reset"
    MODE = "mode"
    MODE_OVER = "mode_over"


class Limits(NamedTuple):
    """The range of a policy value, both ends included."""

    least: float
    most: float


def _number(default: float, least: float, most: float) -> Any:
    return field(default=default, metadata={"limits": Limits(least, most)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a circuit opens and how it recovers.

    Args:
        threshold: Consecutive failures that open the circuit.
        delay: Seconds an open circuit refuses calls before it lets a trial through.
        half_open_max_calls: Trial calls let through at once in half_open.
        success_threshold: Successful trials that close the circuit.
        backoff_factor: What each failed recovery multiplies the delay by; 1 keeps it as it is.
        max_delay: Seconds the delay may grow to. It never shortens ``delay`` itself.
        jitter: The share of a grown delay that is left to chance: 0 is none, 1 is "full jitter"
            (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
        lease_seconds: Seconds a trial may take before its place is given to another.
        ramp_up_seconds: Seconds after a recovery in which a growing share of the calls passes; 0
            lets all pass at once.
        strategy: What opens the circuit.
        window_seconds: Seconds the rate is taken over.
        window_calls: Calls the rate is taken over instead; 0 goes by time.
        failure_rate: The share of failed calls that opens the circuit.
        minimum_calls: Calls the window must hold before its rate counts.
        slow_call_seconds: Seconds from which a call counts as slow; 0 never. A slow call is a
            failure for the consecutive strategy and for a trial.
        slow_call_rate: The share of slow calls that opens the circuit, for the rate strategy.
        respect_retry_after: Whether a ``Retry-After`` of the remote opens the circuit for as long.
        max_concurrent: Calls one process may have under way at once; 0 sets no limit.

    Raises:
        InvalidInputError: A value is of the wrong kind or out of range.
    """

    threshold: int = _number(5, 1, 1_000_000)
    delay: float = _number(10.0, 0, LONGEST)
    half_open_max_calls: int = _number(1, 1, 10_000)
    success_threshold: int = _number(1, 1, 10_000)
    backoff_factor: float = _number(1.0, 1, 100)
    max_delay: float = _number(300.0, 0, LONGEST)
    jitter: float = _number(0.0, 0, 1)
    lease_seconds: float = _number(30.0, 0.1, LONGEST)
    ramp_up_seconds: float = _number(0.0, 0, LONGEST)
    strategy: Strategy = Strategy.CONSECUTIVE
    window_seconds: float = _number(60.0, 1, 24 * 3600)
    window_calls: int = _number(0, 0, windows.MOST_CALLS)
    failure_rate: float = _number(0.5, 0.001, 1)
    minimum_calls: int = _number(10, 1, 1_000_000)
    slow_call_seconds: float = _number(0.0, 0, LONGEST)
    slow_call_rate: float = _number(1.0, 0.001, 1)
    respect_retry_after: bool = False
    max_concurrent: int = _number(0, 0, 1_000_000)

    def __post_init__(self) -> None:
        for name in POLICY_NAMES:
            check_policy_value(name, getattr(self, name))
        # Settings and rows name the strategy by its text.
        object.__setattr__(self, "strategy", Strategy(self.strategy))


POLICY_NAMES: Final = tuple(f.name for f in fields(Policy))
POLICY_LIMITS: Final[dict[str, Limits]] = {
    f.name: f.metadata["limits"] for f in fields(Policy) if "limits" in f.metadata
}
WHOLE_NUMBERS: Final = frozenset(f.name for f in fields(Policy) if f.type == "int")


def check_policy_value(name: str, value: object) -> None:
    """Refuse what a policy field cannot hold.

    Raises:
        InvalidInputError: Names the field and what it may be.
    """
    if name in POLICY_LIMITS:
        check_number(name, value, POLICY_LIMITS[name], whole=name in WHOLE_NUMBERS)
    elif name == "strategy":
        if value not in list(Strategy):
            known = " or ".join(repr(strategy.value) for strategy in Strategy)
            raise InvalidInputError(f"strategy must be {known}, not {shown(value)}.")
    elif not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be true or false, not {shown(value)}.")


def check_number(name: str, value: object, limits: Limits, *, whole: bool) -> None:
    """Refuse a value that is not a finite number within its limits.

    Raises:
        InvalidInputError: Names the value and what it may be.
    """
    kinds = (int,) if whole else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if is_number and limits.least <= value <= limits.most:  # type: ignore[operator]
        return
    sentence = (
        _("%(name)s must be a whole number from %(least)s to %(most)s, not %(value)s.")
        if whole
        else _("%(name)s must be a number from %(least)s to %(most)s, not %(value)s.")
    )
    least, most = f"{limits.least:,}", f"{limits.most:,}"
    raise InvalidInputError(sentence, name=name, least=least, most=most, value=shown(value))


@dataclass(frozen=True, slots=True)
class Lease:
    """A trial call's place in half_open, free again at ``expires_at`` if its holder dies."""

    token: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where a circuit stands. Times are seconds on the caller's clock.

    Args:
        run_started_at: When the present run of failures began.
        retry_at: When an open circuit lets a trial through.
        reopen_count: Failed recoveries since the circuit was last closed.
        trial_successes: Successful trials in the present half_open.
        recovered_at: When trials last closed the circuit, while it stays closed.
        window: The outcomes that count for the rate strategy.
        changed_at: When the state or the mode last changed.
        mode_until: When the mode goes back to automatic by itself; None for never.
    """

    state: State = State.CLOSED
    mode: Mode = Mode.AUTOMATIC
    generation: int = 0
    failure_count: int = 0
    run_started_at: float | None = None
    opened_at: float | None = None
    retry_at: float | None = None
    reopen_count: int = 0
    trial_successes: int = 0
    leases: tuple[Lease, ...] = ()
    recovered_at: float | None = None
    window: Window = windows.EMPTY
    changed_at: float | None = None
    mode_until: float | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call: its generation and, for a trial, its lease.

    ``counts`` is false where observe mode lets a call pass that would have been refused.
    """

    generation: int
    lease: str | None = None
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state or mode, as it goes into the history.

    ``until`` is when the mode that it leads to ends by itself.
    """

    from_state: State
    to_state: State
    from_mode: Mode
    to_mode: Mode
    generation: int
    reason: Reason
    at: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    status: Status
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Admission(Step):
    """The answer to a caller: a permit, or the seconds to wait.

    In observe mode a call that would have been refused has both.
    """

    permit: Permit | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a process knows when it reports a failed call.

    Args:
        own_run: Failures in a row that the process itself has seen, this one included.
        settle_seconds: How old the shared run must be to be believed (``SNAPSHOT_SECONDS``).
        chance: A number from 0 up to 1, for jitter.
        retry_after: Seconds the remote asked callers to wait, if it did.
    """

    own_run: int = 1
    settle_seconds: float = 0.0
    chance: float = 0.0
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Outcomes of calls that a process has gathered in one generation.

    Args:
        counts: How many there were.
        recent: The last of them in order, a letter each (:class:`circuits.windows.Outcome`).
        own_run: Failures in a row that the process itself has seen up to now.
        settle_seconds: How old a generation must be for its window to be believed
            (``FLUSH_SECONDS``).
    """

    generation: int
    counts: Counts
    recent: str
    own_run: int = 0
    settle_seconds: float = 0.0


# Asking for leave ------------------------------------------------------------------------------


def admit(status: Status, policy: Policy, now: float, token: str, chance: float = 0.0) -> Admission:
    """Ask for leave to make one call.

    Args:
        token: A fresh unique string, the name of the lease if this call becomes a trial.
        chance: A number from 0 up to 1, to share out a ramp-up.
    """
    due = expire(status, now)
    admission = _admit_by_mode(due.status, policy, now, token, chance)
    return admission if due.change is None else replace(admission, change=due.change)


def _admit_by_mode(
    status: Status, policy: Policy, now: float, token: str, chance: float
) -> Admission:
    if status.mode is Mode.FORCED_CLOSED:
        return Admission(status, permit=Permit(status.generation))
    if status.mode is Mode.FORCED_OPEN:
        # Where only a person ends this, the delay is an honest pace to ask again at.
        remaining = policy.delay if status.mode_until is None else status.mode_until - now
        return Admission(status, retry_after=remaining)
    admission = _admit_by_state(status, policy, now, token, chance)
    if admission.permit is None and status.mode is Mode.OBSERVE:
        return replace(admission, permit=Permit(status.generation, counts=False))
    return admission


def _admit_by_state(
    status: Status, policy: Policy, now: float, token: str, chance: float
) -> Admission:
    if status.state is State.CLOSED:
        remaining = ramp_remaining(status, policy, now)
        if remaining and chance >= max(1 - remaining / policy.ramp_up_seconds, RAMP_START):
            return Admission(status, retry_after=min(remaining, TRIAL_RETRY_SECONDS))
        return Admission(status, permit=Permit(status.generation))
    if status.state is State.HALF_OPEN:
        return _admit_trial(status, policy, now, token)
    return Admission(status, retry_after=open_remaining(status, now))


def ramp_remaining(status: Status, policy: Policy, now: float) -> float:
    """Return the seconds until all calls pass again after a recovery."""
    if not policy.ramp_up_seconds or status.recovered_at is None:
        return 0.0
    if now < status.recovered_at - CLOCK_SKEW:
        return 0.0  # the clock was set back: let no ramp-up last for as long as that
    left = status.recovered_at + policy.ramp_up_seconds - now
    return max(0.0, min(left, policy.ramp_up_seconds))


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
    # One that would last longer than a new one is of a clock set back: its holder may be long dead.
    longest = now + lease_seconds + CLOCK_SKEW
    return tuple(lease for lease in status.leases if now < lease.expires_at <= longest)


# Reporting a result ----------------------------------------------------------------------------


def succeed(status: Status, policy: Policy, permit: Permit, now: float) -> Step:
    """Report a call that succeeded."""
    if not _counts(status, permit):
        return Step(status)
    if status.state is State.HALF_OPEN:
        return _succeed_trial(status, policy, permit, now)
    if policy.strategy is Strategy.RATE:
        return merge(status, policy, now, _batch_of(permit, Outcome.GOOD))
    if not status.failure_count:
        return Step(status)
    return Step(replace(status, failure_count=0, run_started_at=None))


def fail(status: Status, policy: Policy, permit: Permit, now: float, failure: Failure) -> Step:
    """Report a call that failed."""
    if not _counts(status, permit):
        return Step(status)
    if status.state is State.HALF_OPEN:
        return _fail_trial(status, policy, now, failure)
    asked = asked_delay(policy, failure)
    if asked is not None and status.mode is not Mode.FORCED_CLOSED:
        return _open(status, now, asked, Reason.RETRY_AFTER)
    if policy.strategy is Strategy.RATE:
        return merge(status, policy, now, _batch_of(permit, Outcome.FAILED))
    started = now if status.run_started_at is None else status.run_started_at
    counted = replace(status, failure_count=status.failure_count + 1, run_started_at=started)
    if counted.mode is not Mode.FORCED_CLOSED and opens(counted, policy, now, failure):
        return _open(counted, now, policy.delay, Reason.FAILURES)
    return Step(counted)


def merge(status: Status, policy: Policy, now: float, batch: Batch) -> Step:
    """Merge what a process has gathered into the window of the rate strategy."""
    if batch.generation != status.generation or status.state is not State.CLOSED:
        return Step(status)
    window = windows.merged(status.window, policy, now, batch.counts, batch.recent)
    after = replace(status, window=window)
    counts = windows.totals(window)
    if status.mode is Mode.FORCED_CLOSED or not _believes(after, policy, now, batch):
        return Step(after)
    if windows.too_many_failures(counts, policy):
        return _open(after, now, policy.delay, Reason.FAILURE_RATE)
    if windows.too_many_slow(counts, policy):
        return _open(after, now, policy.delay, Reason.SLOW_CALLS)
    return Step(after)


def asked_delay(policy: Policy, failure: Failure) -> float | None:
    """Return the seconds the remote asked for, capped, if this policy heeds them."""
    if failure.retry_after is None or not policy.respect_retry_after:
        return None
    return min(max(failure.retry_after, 0.0), max(policy.max_delay, policy.delay))


def _succeed_trial(status: Status, policy: Policy, permit: Permit, now: float) -> Step:
    successes = status.trial_successes + 1
    if successes >= policy.success_threshold:
        return _close(status, now, Reason.TRIAL_SUCCEEDED, recovered_at=now)
    leases = _without(status.leases, permit.lease)
    return Step(replace(status, trial_successes=successes, leases=leases))


def _fail_trial(status: Status, policy: Policy, now: float, failure: Failure) -> Step:
    reopened = replace(status, reopen_count=status.reopen_count + 1)
    wait = grown_delay(policy, reopened.reopen_count, failure.chance)
    asked = asked_delay(policy, failure)
    return _open(reopened, now, max(wait, asked or 0.0), Reason.TRIAL_FAILED)


def _batch_of(permit: Permit, outcome: Outcome) -> Batch:
    return Batch(
        generation=permit.generation, counts=windows.counted(outcome), recent=outcome.value
    )


def release(status: Status, permit: Permit) -> Step:
    """Give a permit back unused: the call was cancelled, or its outcome says nothing."""
    leases = _without(status.leases, permit.lease)
    if permit.generation != status.generation or leases == status.leases:
        return Step(status)
    return Step(replace(status, leases=leases))


def opens(status: Status, policy: Policy, now: float, failure: Failure) -> bool:
    """The opening rule: whether the failures counted so far open a closed circuit.

    A success that writes nothing clears the shared run only once its process has seen that the
    run exists. So the shared run is believed when it is old enough for every process to have
    seen it; a process always believes what it saw itself.
    """
    if failure.own_run >= policy.threshold:
        return True
    if status.failure_count < policy.threshold or status.run_started_at is None:
        return False
    # In either direction, in case the clock has been set back.
    return abs(now - status.run_started_at) >= failure.settle_seconds


def _believes(status: Status, policy: Policy, now: float, batch: Batch) -> bool:
    """The opening rule of the rate strategy: whether the shared window tells how all fare.

    A process that is past the limit merges at once, the others in their time. So at first a
    window holds what those with bad luck have seen, until each has had the time to merge.
    """
    if batch.own_run >= windows.least_calls(policy) or status.changed_at is None:
        return True
    return now - status.changed_at >= batch.settle_seconds


def grown_delay(policy: Policy, reopen_count: int, chance: float) -> float:
    """Seconds to wait after the given number of failed recoveries, jitter included."""
    # 100 ** 64 is still a float; by then any cap has long been reached.
    grown = policy.delay * policy.backoff_factor ** min(reopen_count, 64)
    capped = min(grown, max(policy.max_delay, policy.delay))
    return capped * (1 - policy.jitter * chance)


def _counts(status: Status, permit: Permit) -> bool:
    """Whether a result may still change anything."""
    if permit.generation != status.generation or not permit.counts:
        return False
    if status.state is State.HALF_OPEN:
        return any(lease.token == permit.lease for lease in status.leases)
    return status.state is State.CLOSED


def _without(leases: tuple[Lease, ...], token: str | None) -> tuple[Lease, ...]:
    return tuple(lease for lease in leases if lease.token != token)


# Time and people -------------------------------------------------------------------------------


def expire(status: Status, now: float) -> Step:
    """Change what time alone changes.

    A mode that was set for a while goes back to automatic, and an open circuit whose delay has
    passed moves to half_open; where both are due, in one change.
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

    None are left where the clock was set back past the opening: how long ago that was, nobody can
    tell, and a trial too early costs less than a circuit that stays open for as long as the jump.
    """
    if status.retry_at is None or now < (status.opened_at or now) - CLOCK_SKEW:
        return 0.0
    return max(0.0, status.retry_at - now)


def reset(status: Status, now: float) -> Step:
    """Close the circuit and forget its failures. The mode stays, so forced_open stays open."""
    if status.mode is Mode.FORCED_OPEN:
        return Step(status)
    if status.state is not State.CLOSED:
        return _close(status, now, Reason.RESET)
    if not status.failure_count and status.window == windows.EMPTY:
        return Step(status)
    cleared = replace(status, failure_count=0, run_started_at=None, window=windows.EMPTY)
    return Step(cleared)


def set_mode(status: Status, mode: Mode, now: float, until: float | None = None) -> Step:
    """Put the circuit in another mode, or set another end to the one it is in.

    A forced mode sets the state too, so the two never contradict each other. Out of forced_open
    the next call is a trial; out of forced_closed the failures recorded meanwhile count.

    Args:
        until: When it goes back to automatic by itself; None for when somebody sets it back.
            Automatic itself has no end.
    """
    new = {"mode": mode, "mode_until": None if mode is Mode.AUTOMATIC else until}
    if mode is status.mode:
        is_same = new["mode_until"] == status.mode_until
        return Step(status) if is_same else _move(status, now, Reason.MODE, **new)
    if mode is Mode.FORCED_CLOSED:
        return _close(status, now, Reason.MODE, **new)
    if mode is Mode.FORCED_OPEN:
        opened = now if status.opened_at is None else status.opened_at
        return _open(status, now, 0.0, Reason.MODE, **new, opened_at=opened)
    return _move(status, now, Reason.MODE, **new)


def in_memory(status: Status, shift: float) -> Status:
    """Return a shared status as one process goes on with it alone.

    Args:
        shift: Seconds to add to each time, from the shared clock to the process's own.
    """

    def moved(at: float | None) -> float | None:
        return None if at is None else at + shift

    return replace(
        status,
        generation=MEMORY_GENERATION,
        leases=(),
        run_started_at=moved(status.run_started_at),
        opened_at=moved(status.opened_at),
        retry_at=moved(status.retry_at),
        recovered_at=moved(status.recovered_at),
        window=windows.EMPTY,
        changed_at=moved(status.changed_at),
        mode_until=moved(status.mode_until),
    )


def _open(status: Status, now: float, wait: float, reason: Reason, **new: Any) -> Step:
    opening = {
        "state": State.OPEN,
        "opened_at": now,
        "retry_at": now + wait,
        "recovered_at": None,
        "window": windows.EMPTY,
    }
    return _move(status, now, reason, **(opening | new))


def _close(status: Status, now: float, reason: Reason, **new: Any) -> Step:
    closing = {
        "state": State.CLOSED,
        "failure_count": 0,
        "run_started_at": None,
        "opened_at": None,
        "retry_at": None,
        "reopen_count": 0,
        "trial_successes": 0,
        "recovered_at": None,
        "window": windows.EMPTY,
    }
    return _move(status, now, reason, **(closing | new))


def _move(status: Status, now: float, reason: Reason, **new: Any) -> Step:
    """The one way to change state or mode: a new generation, in which no old lease counts."""
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
        ),
    )
