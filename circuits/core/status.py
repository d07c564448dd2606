"""The frozen values that the state machine takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from . import windows
from .injection import Injection
from .windows import Counts, Window


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Mode(StrEnum):
    AUTOMATIC = "automatic"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"
    OBSERVE = "observe"


class Reason(StrEnum):
    """Why a state or mode changed, or injected faults began or ended."""

    FAILURES = "failures"
    FAILURE_RATE = "failure_rate"
    SLOW_CALLS = "slow_calls"
    RETRY_AFTER = "retry_after"
    REFUTED = "refuted"
    DELAY_PASSED = "delay_passed"
    TRIAL_SUCCEEDED = "trial_succeeded"
    TRIAL_FAILED = "trial_failed"
    TRY_NOW = "try_now"
    RESET = "reset"
    MODE = "mode"
    MODE_OVER = "mode_over"
    INJECTION = "injection"


@dataclass(frozen=True, slots=True)
class Lease:
    """A trial call's place in half_open, free again at ``expires_at`` if its holder dies."""

    token: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A process that cannot reach the remote while others can.

    Args:
        process: The id of the process.
        since: When it was found that only this process fails.
        until: Until when it refuses its own calls. After that, one of them is its trial.
        tries: How often only this process failed. It is 0 before its first trial after others have
            closed a circuit that it had opened alone.
        token: The token of its trial that is under way.
    """

    process: str
    since: float
    until: float
    tries: int
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole status of a circuit. Times are seconds on the caller's clock.

    Args:
        run_started_at: When the present run of failures began.
        down_since: When the circuit last left closed; None while it is closed. Unlike
            ``opened_at``, a failed trial does not move it.
        retry_at: When an open circuit lets a trial through.
        reopen_count: Failed recoveries since the circuit was last closed.
        trial_successes: Successful trials in the present half_open.
        recovered_at: When trials closed the circuit; None once it has opened again.
        window: The outcomes that count for the strategies rate and throttle.
        changed_at: When the state or the mode last changed.
        mode_until: When the mode goes back to automatic; None means never.
        run_by: The process that has seen the whole run of failures;
            :data:`~circuits.core.conviction.MANY` if several have a part in it.
        accuser: While closed, the process that accuses the remote and is not confirmed yet. Else
            the one that opened the circuit alone, or failed the last trial.
        quarantines: The processes that cannot reach the remote while others can.
        last_success_at: When a call last succeeded, as far as it was told.
        succeeded_by: The process that made this last successful call.
        other_succeeded_at: When a call of any other process last succeeded.
        injection: The faults that were last injected, whether or not that is over; None once
            somebody has ended it.
    """

    state: State = State.CLOSED
    mode: Mode = Mode.AUTOMATIC
    generation: int = 0
    failure_count: int = 0
    run_started_at: float | None = None
    opened_at: float | None = None
    down_since: float | None = None
    retry_at: float | None = None
    reopen_count: int = 0
    trial_successes: int = 0
    leases: tuple[Lease, ...] = ()
    recovered_at: float | None = None
    window: Window = windows.EMPTY
    changed_at: float | None = None
    mode_until: float | None = None
    run_by: str = ""
    accuser: str = ""
    quarantines: tuple[Quarantine, ...] = ()
    last_success_at: float | None = None
    succeeded_by: str = ""
    other_succeeded_at: float | None = None
    injection: Injection | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to make one call.

    Args:
        generation: The generation in which the call's result counts.
        lease: The token of the trial's lease; None if the call is no trial.
        counts: Whether the result counts. It does not if the call passes only because its refusal
            is not enforced.
    """

    generation: int
    lease: str | None = None
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state or mode, or of injected faults, as the history records it.

    ``until`` is when the new mode, or the faults, end by themselves; None if they do not.
    ``evidence`` says what the decision was based on, if the error alone does not.
    """

    from_state: State
    to_state: State
    from_mode: Mode
    to_mode: Mode
    generation: int
    reason: Reason
    at: float
    until: float | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The status after a decision, and the change it made, if any."""

    status: Status
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Admission(Step):
    """The answer to a caller: a permit, or the seconds to wait.

    It has both if a call passes that would have been refused: in the mode observe, or if only a
    share of the refusals is enforced.

    Args:
        is_alone: Whether the call is refused only because this process is in quarantine.
    """

    permit: Permit | None = None
    retry_after: float | None = None
    is_alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A process, and how far it trusts the outcomes of other processes.

    Args:
        process: The id of the process; empty for an unknown one.
        judge_seconds: Age in seconds at which a run that no success has cleared is believed.
        recent_seconds: Seconds for which a success of another process speaks for the remote.
        succeeded_at: When a call of this process last succeeded; None if that is unknown.
        asked_share: The largest share of its calls, from 0 to 1, that it refuses by the throttle
            strategy, since the outcomes of its own calls ask for no more.
    """

    process: str = ""
    judge_seconds: float = 0.2
    recent_seconds: float = 10.0
    succeeded_at: float | None = None
    asked_share: float = 1.0


NOBODY: Final = Witness()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed call, with the knowledge of the process that reports it.

    Args:
        own_run: Number of failures in a row this process has reported, including this one.
        settle_seconds: Age in seconds at which the shared run counts (``SNAPSHOT_SECONDS``).
        chance: A random number in [0, 1), for jitter.
        retry_after: Seconds the remote asked callers to wait, if it did.
        witness: The process.
    """

    own_run: int = 1
    settle_seconds: float = 0.0
    chance: float = 0.0
    retry_after: float | None = None
    witness: Witness = NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The outcomes of calls that a process has gathered in one generation.

    Args:
        counts: The number of calls, of failures and of slow ones.
        recent: The latest outcomes, oldest first, one letter each
            (:class:`circuits.core.windows.Outcome`).
        own_run: Number of failures in a row this process has seen.
        settle_seconds: Age in seconds at which a generation's window counts (``FLUSH_SECONDS``).
        witness: The process.
    """

    generation: int
    counts: Counts
    recent: str
    own_run: int = 0
    settle_seconds: float = 0.0
    witness: Witness = NOBODY
