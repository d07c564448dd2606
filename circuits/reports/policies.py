"""Describes a policy in plain sentences, and warns of values that do not go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import conf
from ..core.budget import FLOOR
from ..core.forecast import Plan, Traffic, window_of
from ..core.policy import Policy, Strategy
from ..core.windows import least_calls
from .numbers import exact_time, percent, rounded
from .words import grouped

#: How many flushes a time window must span; in a shorter one, many calls would be dated wrongly.
LEAST_FLUSHES = 3

_DEFAULT_RETRY_SHARE: Final = Policy().retry_share


def in_words(plan: Plan) -> str:
    """Return two or three sentences that describe a policy."""
    policy = plan.policy
    if policy.strategy is Strategy.THROTTLE:
        sentences = [_throttling(policy)]
    else:
        sentences = [_opening(policy), _delay(policy), _closing(policy)]
    if policy.max_concurrent:
        sentences.append(_limit(policy))
    if policy.enforce_share < 1:
        sentences.append(_enforcement(policy))
    if policy.retry_share != _DEFAULT_RETRY_SHARE:
        sentences.append(_retries(policy))
    return " ".join(sentences)


def _opening(policy: Policy) -> str:
    if policy.strategy is Strategy.CONSECUTIVE:
        sentence = ngettext(
            "It opens after %(number)s failure%(slow)s.",
            "It opens after %(number)s failures in a row%(slow)s.",
            policy.threshold,
        )
        return sentence % {"number": rounded(policy.threshold), "slow": _slow_as_failure(policy)}
    if policy.window_calls:
        sentence = _("It opens when %(rate)s of the last %(calls)s calls have failed%(slow)s.")
    else:
        sentence = _(
            "It opens when %(rate)s of the calls of the last %(time)s have failed%(slow)s, if "
            "there were %(least)s or more."
        )
    return sentence % _window_values(policy)


def _throttling(policy: Policy) -> str:
    if policy.window_calls:
        sentence = _(
            "It stays closed and refuses some calls while more than %(rate)s of the last %(calls)s "
            "calls have failed%(slow)s: more of them the more fail, up to %(most)s."
        )
    else:
        sentence = _(
            "It stays closed and refuses some calls while more than %(rate)s of the calls of the "
            "last %(time)s have failed%(slow)s, if there were %(least)s or more: more of them the "
            "more fail, up to %(most)s."
        )
    return sentence % {**_window_values(policy), "most": percent(policy.max_throttle)}


def _window_values(policy: Policy) -> dict[str, str]:
    return {
        "rate": percent(policy.failure_rate),
        "calls": rounded(policy.window_calls),
        "time": exact_time(policy.window_seconds),
        "least": rounded(policy.minimum_calls),
        "slow": _slow_as_share(policy),
    }


def _slow_as_failure(policy: Policy) -> str:
    if not policy.slow_call_seconds:
        return ""
    sentence = _(" (a call of %(time)s or more counts as one)")
    return sentence % {"time": exact_time(policy.slow_call_seconds)}


def _slow_as_share(policy: Policy) -> str:
    if not policy.slow_call_seconds:
        return ""
    sentence = _(", or %(rate)s have taken %(time)s or more")
    return sentence % {
        "rate": percent(policy.slow_call_rate),
        "time": exact_time(policy.slow_call_seconds),
    }


def _delay(policy: Policy) -> str:
    values = {
        "time": exact_time(policy.delay),
        "factor": rounded(policy.backoff_factor),
        "most": exact_time(max(policy.max_delay, policy.delay)),
    }
    if policy.backoff_factor == 1:
        return _("Then it refuses calls for %(time)s before it tries again.") % values
    return (
        _(
            "Then it refuses calls for %(time)s before it tries again, %(factor)s times as long "
            "after each failed trial, up to %(most)s."
        )
        % values
    )


def _closing(policy: Policy) -> str:
    sentence = ngettext(
        "It closes after %(number)s successful trial%(ramp)s.",
        "It closes after %(number)s successful trials%(ramp)s.",
        policy.success_threshold,
    )
    ramp = ""
    if policy.ramp_up_seconds:
        ramp = _(", and lets all calls pass again over %(time)s") % {
            "time": exact_time(policy.ramp_up_seconds)
        }
    return sentence % {"number": rounded(policy.success_threshold), "ramp": ramp}


def _limit(policy: Policy) -> str:
    sentence = _("Each process has at most %(number)s calls under way at once%(wait)s.")
    wait = ""
    if policy.max_wait_seconds:
        wait = _("; one more waits up to %(time)s for a place") % {
            "time": exact_time(policy.max_wait_seconds)
        }
    return sentence % {"number": rounded(policy.max_concurrent), "wait": wait}


def _enforcement(policy: Policy) -> str:
    if not policy.enforce_share:
        return _("No refusal is real: the calls pass, and are only counted as refused.")
    sentence = _(
        "Only %(share)s of the refusals are real: the other calls pass, and are only counted as "
        "refused."
    )
    return sentence % {"share": percent(policy.enforce_share)}


def _retries(policy: Policy) -> str:
    sentence = _("Retries may be %(share)s of the calls of the last %(time)s, and %(number)s more.")
    return sentence % {
        "share": percent(policy.retry_share),
        "time": exact_time(policy.window_seconds),
        "number": rounded(FLOOR),
    }


# What does not go together ---------------------------------------------------------------------


def cautions(plan: Plan) -> Iterator[str]:
    """Yield a sentence for each pair of values that do not go together, naming both fields."""
    policy, flush = plan.policy, conf.get().flush_seconds
    grows = policy.backoff_factor > 1 or policy.respect_retry_after
    if policy.lease_seconds < plan.timeout:
        yield _(
            "The trial lease (%(first)s) is shorter than the timeout (%(second)s): where a process "
            "cannot renew it, a second trial begins while the first one still waits."
        ) % _both(policy.lease_seconds, plan.timeout)
    if policy.delay > policy.max_delay and grows:
        yield _(
            "The delay (%(first)s) is above the longest delay (%(second)s): it never grows."
        ) % _both(policy.delay, policy.max_delay)
    if policy.slow_call_seconds >= plan.timeout:
        yield _(
            "“Slow from” (%(first)s) is not below the timeout (%(second)s): calls fail before they "
            "count as slow."
        ) % _both(policy.slow_call_seconds, plan.timeout)
    if policy.has_window:
        yield from _of_window(policy, flush)
    if policy.strategy is Strategy.THROTTLE and policy.failure_rate == 1:
        yield _("With a failure rate of %(share)s it refuses no calls.") % {"share": percent(1)}


def unnoticed(policy: Policy, traffic: Traffic) -> str:
    """Return a sentence on a window that holds too few calls for an outage to be noticed."""
    return _(
        "An outage would not be noticed: the window holds about %(calls)s calls, and %(least)s "
        "are needed."
    ) % {
        "calls": rounded(window_of(policy, traffic)),
        "least": grouped(least_calls(policy)),
    }


def _of_window(policy: Policy, flush: float) -> Iterator[str]:
    if 0 < policy.window_calls < policy.minimum_calls:
        yield _(
            "The window in calls (%(first)s) is smaller than the minimum of calls (%(second)s): "
            "the rate counts once the window is full."
        ) % {"first": rounded(policy.window_calls), "second": rounded(policy.minimum_calls)}
    if not policy.window_calls and policy.window_seconds < LEAST_FLUSHES * flush:
        yield _(
            "The window in seconds (%(first)s) is shorter than three times FLUSH_SECONDS "
            "(%(second)s): calls count in it up to that much too late."
        ) % _both(policy.window_seconds, flush)


def _both(first: float, second: float) -> dict[str, str]:
    return {"first": exact_time(first), "second": exact_time(second)}
