"""A policy in plain sentences: what it says, and which of its values do not go together."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import conf
from ..core.forecast import Plan
from ..core.policy import Policy, Strategy
from .numbers import percent, short, spell

#: How many flushes a window of time must span, or a large part of its calls would be dated wrongly.
LEAST_FLUSHES = 3


def in_words(plan: Plan) -> str:
    """Return what a policy says, in two or three sentences."""
    policy = plan.policy
    sentences = [_opening(policy), _delay(policy), _closing(policy)]
    if policy.max_concurrent:
        sentences.append(_limit(policy))
    if policy.enforce_share < 1:
        sentences.append(_enforcement(policy))
    return " ".join(sentences)


def _opening(policy: Policy) -> str:
    if policy.strategy is Strategy.CONSECUTIVE:
        sentence = ngettext(
            "It opens after %(number)s failure%(slow)s.",
            "It opens after %(number)s failures in a row%(slow)s.",
            policy.threshold,
        )
        return sentence % {"number": short(policy.threshold), "slow": _slow_as_failure(policy)}
    values = {
        "rate": percent(policy.failure_rate),
        "calls": short(policy.window_calls),
        "time": spell(policy.window_seconds),
        "least": short(policy.minimum_calls),
        "slow": _slow_as_share(policy),
    }
    if policy.window_calls:
        sentence = _("It opens when %(rate)s of the last %(calls)s calls have failed%(slow)s.")
    else:
        sentence = _(
            "It opens when %(rate)s of the calls of the last %(time)s have failed%(slow)s, if "
            "there were %(least)s or more."
        )
    return sentence % values


def _slow_as_failure(policy: Policy) -> str:
    if not policy.slow_call_seconds:
        return ""
    sentence = _(" (a call of %(time)s or more counts as one)")
    return sentence % {"time": spell(policy.slow_call_seconds)}


def _slow_as_share(policy: Policy) -> str:
    if not policy.slow_call_seconds:
        return ""
    sentence = _(", or %(rate)s have taken %(time)s or more")
    return sentence % {
        "rate": percent(policy.slow_call_rate),
        "time": spell(policy.slow_call_seconds),
    }


def _delay(policy: Policy) -> str:
    values = {
        "time": spell(policy.delay),
        "factor": short(policy.backoff_factor),
        "most": spell(max(policy.max_delay, policy.delay)),
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
            "time": spell(policy.ramp_up_seconds)
        }
    return sentence % {"number": short(policy.success_threshold), "ramp": ramp}


def _limit(policy: Policy) -> str:
    sentence = _("Each process has at most %(number)s calls under way at once%(wait)s.")
    wait = ""
    if policy.max_wait_seconds:
        wait = _("; one more waits up to %(time)s for a place") % {
            "time": spell(policy.max_wait_seconds)
        }
    return sentence % {"number": short(policy.max_concurrent), "wait": wait}


def _enforcement(policy: Policy) -> str:
    if not policy.enforce_share:
        return _("No refusal is real: the calls pass, and are only counted as refused.")
    sentence = _(
        "Only %(share)s of the refusals are real: the other calls pass, and are only counted as "
        "refused."
    )
    return sentence % {"share": percent(policy.enforce_share)}


# What does not go together ---------------------------------------------------------------------


def cautions(plan: Plan) -> Iterator[str]:
    """Yield a sentence for each two values that do not go together; it names both fields."""
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
    if policy.strategy is Strategy.RATE:
        yield from _of_window(policy, flush)


def _of_window(policy: Policy, flush: float) -> Iterator[str]:
    if 0 < policy.window_calls < policy.minimum_calls:
        yield _(
            "The window in calls (%(first)s) is smaller than the minimum of calls (%(second)s): "
            "the rate counts once the window is full."
        ) % {"first": short(policy.window_calls), "second": short(policy.minimum_calls)}
    if not policy.window_calls and policy.window_seconds < LEAST_FLUSHES * flush:
        yield _(
            "The window in seconds (%(first)s) is shorter than three times FLUSH_SECONDS "
            "(%(second)s): calls count in it up to that much too late."
        ) % _both(policy.window_seconds, flush)


def _both(first: float, second: float) -> dict[str, str]:
    return {"first": spell(first), "second": spell(second)}
