"""The fields of a policy and their limits. A policy says when a circuit opens and recovers."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, NamedTuple

from ..exceptions import InvalidInputError, shown
from ..exceptions import gettext_noop as _

#: The most calls that ``window_calls`` may be set to.
MOST_CALLS: Final = 1000

#: The longest time a policy may set, in seconds: one year.
LONGEST: Final = 365 * 24 * 3600


class Strategy(StrEnum):
    """What a closed circuit does about failures.

    It opens after failures in a row, or when the share of failed calls reaches a limit, or it
    refuses as many calls as that share asks for (:mod:`circuits.core.throttle`).
    """

    CONSECUTIVE = "consecutive"
    RATE = "rate"
    THROTTLE = "throttle"


class Limits(NamedTuple):
    """The range of a policy value, both ends included."""

    least: float
    most: float


def _number(default: float, least: float, most: float) -> Any:
    return field(default=default, metadata={"limits": Limits(least, most)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a circuit opens and how it recovers::

        Policy(threshold=3, delay=30, backoff_factor=2)

    Args:
        threshold: Number of consecutive failures that open the circuit.
        delay: Seconds for which an open circuit refuses calls before it lets a trial through.
        half_open_max_calls: Number of trial calls let through at once in half_open.
        success_threshold: Number of successful trials that close the circuit.
        backoff_factor: The factor by which each failed recovery multiplies the delay; 1 keeps it.
        max_delay: Seconds to which the delay may grow. It never shortens ``delay`` itself.
        jitter: The share of a grown delay that is random: 0 is none, 1 is "full jitter"
            (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
        lease_seconds: Seconds after which the place of a trial is given to another call, unless
            its process lives and renews it.
        ramp_up_seconds: Seconds after a recovery in which a growing share of the calls passes; 0
            lets all calls pass at once.
        strategy: What the circuit does about failures: it opens after failures in a row, or by
            their share, or refuses some calls for as long as their share asks for that.
        window_seconds: Length in seconds of the window in which the strategies rate and throttle
            count calls.
        window_calls: Number of calls in that window instead; 0 means that it goes by time.
        failure_rate: The share of failed calls, from 0 to 1, that opens the circuit, or above which
            it throttles.
        minimum_calls: Number of calls the window must hold before its rate counts.
        slow_call_seconds: Seconds after which a call counts as slow, also while it is under way; 0
            means never. A slow call is a failure for the consecutive strategy and for a trial.
        slow_call_rate: The share of slow calls, from 0 to 1, that opens the circuit, or above which
            it throttles.
        max_throttle: The largest share of calls, up to 0.99, that the throttle strategy
            refuses. The others find out when the remote is well again.
        respect_retry_after: Whether a ``Retry-After`` from the remote opens the circuit for that
            long.
        max_concurrent: Number of calls one process may have under way at once; 0 means no limit.
        max_wait_seconds: Seconds for which a call over that limit waits for a place; 0 means that
            it is refused at once.
        enforce_share: The share of refusals, from 0 to 1, that is real. The rest of those calls
            pass, and are counted as the mode observe counts them. It does not concern
            ``max_concurrent``.
        retry_share: The share of the calls of the last ``window_seconds``, from 0 to 1, that may be
            retried, beside a few that always may; see :func:`circuits.may_retry`.

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
    window_calls: int = _number(0, 0, MOST_CALLS)
    failure_rate: float = _number(0.5, 0.001, 1)
    minimum_calls: int = _number(10, 1, 1_000_000)
    slow_call_seconds: float = _number(0.0, 0, LONGEST)
    slow_call_rate: float = _number(1.0, 0.001, 1)
    max_throttle: float = _number(0.9, 0.01, 0.99)
    respect_retry_after: bool = False
    max_concurrent: int = _number(0, 0, 1_000_000)
    max_wait_seconds: float = _number(0.0, 0, 60)
    enforce_share: float = _number(1.0, 0, 1)
    retry_share: float = _number(0.2, 0, 1)

    def __post_init__(self) -> None:
        for name in POLICY_NAMES:
            check_policy_value(name, getattr(self, name))
        # Settings and rows hold the strategy as a string.
        object.__setattr__(self, "strategy", Strategy(self.strategy))

    @property
    def has_window(self) -> bool:
        """Whether the strategy counts the calls of a window, rather than failures in a row."""
        return self.strategy is not Strategy.CONSECUTIVE


POLICY_NAMES: Final = tuple(f.name for f in fields(Policy))
POLICY_LIMITS: Final[dict[str, Limits]] = {
    f.name: f.metadata["limits"] for f in fields(Policy) if "limits" in f.metadata
}
WHOLE_NUMBERS: Final = frozenset(f.name for f in fields(Policy) if f.type == "int")


def check_policy_value(name: str, value: object) -> None:
    """Check that a policy field can hold the value.

    Raises:
        InvalidInputError: The field cannot; the message names it and the values it accepts.
    """
    if name in POLICY_LIMITS:
        check_number(name, value, POLICY_LIMITS[name], whole=name in WHOLE_NUMBERS)
    elif name == "strategy":
        if value not in list(Strategy):
            *others, last = (repr(strategy.value) for strategy in Strategy)
            known = f"{', '.join(others)} or {last}"
            raise InvalidInputError(f"strategy must be {known}, not {shown(value)}.")
    elif not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be true or false, not {shown(value)}.")


def check_number(name: str, value: object, limits: Limits, *, whole: bool) -> None:
    """Check that a value is a finite number within its limits.

    Raises:
        InvalidInputError: The value is not; the message names it and its limits.
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
