"""A forecast of a circuit's policy from its own traffic, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Min, Sum
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import conf
from ..core import latency
from ..core.forecast import (
    RULE_OF_THREE,
    Better,
    Forecast,
    Plan,
    Traffic,
    better,
    forecast,
)
from ..core.policy import Strategy
from ..models import BUCKETS, Circuit, Minute
from ..storage.rows import policy_of, timeout_of
from . import throttling
from .numbers import LIFETIME, answered_within, approximate_time, exact_time, percent, rounded
from .policies import unnoticed
from .statistics import DAY_MINUTES, MINUTE_SECONDS
from .words import grouped

#: The calls that the last day must have to be enough; with fewer, the last week is taken.
ENOUGH_CALLS: Final = 1_000

#: The timed calls that it takes to say how long 95 of 100 calls last.
ENOUGH_TIMED: Final = 40

#: The least probability of an opening by chance while a window fills that is worth a sentence.
WORTH_TELLING: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """The calls that a forecast is based on: those of all minutes without refusals.

    Args:
        days: How many days were looked at.
        calls: How many calls were made in those days.
        failures: How many of the calls failed.
        timed: How many of the calls were timed.
        traffic: The same in the form that the forecast takes. If no call failed, its share of
            failures is the largest that would still be no surprise.
    """

    days: int
    calls: int
    failures: int
    traffic: Traffic
    timed: int = 0


def basis_of(circuit: Circuit, now: float) -> Basis | None:
    """Return the basis of a forecast for a circuit; None if no calls of it are kept.

    Args:
        now: The moment, in seconds since 1970 on the database's clock.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    day = _basis_of(circuit, now, days=1)
    if day is not None and day.calls >= ENOUGH_CALLS:
        return day
    return _basis_of(circuit, now, days=7)


def _basis_of(circuit: Circuit, now: float, days: int) -> Basis | None:
    last = int(now // MINUTE_SECONDS)
    minutes = Minute.objects.filter(circuit=circuit, minute__gt=last - days * DAY_MINUTES)
    found: Any = minutes.filter(refusals=0).aggregate(
        first=Min("minute"),
        successes=Sum("successes"),
        failures=Sum("failures"),
        **{bucket: Sum(bucket) for bucket in BUCKETS},
    )
    if not found["first"] or not (calls := found["successes"] + found["failures"]):
        return None
    seconds = max(1, last - found["first"] + 1) * MINUTE_SECONDS
    failures = found["failures"] or min(RULE_OF_THREE, calls / 2)
    durations = [found[bucket] for bucket in BUCKETS]
    timed = sum(durations)
    is_known = timed >= ENOUGH_TIMED
    traffic = Traffic(
        calls_per_second=calls / seconds,
        failure_share=failures / calls,
        typical_seconds=latency.quantile(durations, latency.TYPICAL) if is_known else None,
        slow_seconds=latency.quantile(durations, latency.SLOW) if is_known else None,
    )
    return Basis(days=days, calls=calls, failures=found["failures"], traffic=traffic, timed=timed)


def plan_of(circuit: Any) -> Plan:
    """Return the policy of a circuit, saved or not, in the form that a forecast takes."""
    return Plan(
        policy=policy_of(circuit),
        timeout=timeout_of(circuit),
        settle_seconds=conf.get().snapshot_seconds,
    )


# In words --------------------------------------------------------------------------------------


def sentences(plan: Plan, basis: Basis) -> list[str]:
    """Return sentences on what the policy would do with the traffic, and on better values."""
    if plan.policy.strategy is Strategy.THROTTLE:
        return list(throttling.sentences(plan, basis.traffic))
    expected = forecast(plan, basis.traffic)
    proposals = better(plan, basis.traffic)
    return [
        _of_outage(plan, basis, expected),
        *_of_hanging(plan, expected),
        *_of_chance(basis, expected),
        _of_recovery(expected),
        *(_of_better(plan, each, expected) for each in proposals),
    ]


def of_traffic(basis: Basis) -> str:
    """Return a sentence on the traffic that the forecast is based on."""
    values = {
        "number": grouped(basis.calls),
        "rate": rounded(basis.traffic.calls_per_second),
        "share": percent(basis.failures / basis.calls),
    }
    sentence = ngettext(
        "In the last day %(number)s calls were made while none was refused: %(rate)s a second on "
        "average, of which %(share)s failed.",
        "In the last %(days)d days %(number)s calls were made while none was refused: %(rate)s a "
        "second on average, of which %(share)s failed.",
        basis.days,
    )
    return " ".join([sentence % {**values, "days": basis.days}, *_of_latency(basis)])


def _of_latency(basis: Basis) -> Iterator[str]:
    traffic = basis.traffic
    if traffic.typical_seconds is not None and traffic.slow_seconds is not None:
        yield _(
            "Half of the answers came within %(typical)s and 95 of 100 within %(slow)s, by "
            "%(timed)s calls that were timed."
        ) % {
            "typical": answered_within(traffic.typical_seconds),
            "slow": answered_within(traffic.slow_seconds),
            "timed": grouped(basis.timed),
        }


def _of_outage(plan: Plan, basis: Basis, expected: Forecast) -> str:
    if expected.outage is None:
        return unnoticed(plan.policy, basis.traffic)
    calls = round(expected.outage.calls)
    sentence = ngettext(
        "If the remote goes down and each call fails at once, it opens after about %(calls)s call, "
        "which takes %(time)s.",
        "If the remote goes down and each call fails at once, it opens after about %(calls)s "
        "calls, which takes %(time)s.",
        calls,
    )
    return sentence % {"calls": grouped(calls), "time": approximate_time(expected.outage.seconds)}


def _of_hanging(plan: Plan, expected: Forecast) -> Iterator[str]:
    if expected.hang is None:
        return
    yield _(
        "If calls hang until their timeout of %(timeout)s, it opens after about %(time)s; by then "
        "%(calls)s calls have begun, which keep workers waiting for %(lost)s worker-seconds in all."
    ) % {
        "timeout": exact_time(plan.timeout),
        "time": approximate_time(expected.hang.seconds),
        "calls": grouped(round(expected.hang.calls)),
        "lost": rounded(expected.lost_before),
    }
    first, later = rounded(expected.lost_per_minute), rounded(expected.lost_per_minute_later)
    if first == later:
        sentence = _("From then on, trials cost %(first)s worker-seconds of each minute.")
    else:
        sentence = _(
            "From then on, trials cost %(first)s worker-seconds of each minute, and %(later)s once "
            "the delay has grown."
        )
    yield sentence % {"first": first, "later": later}


def _of_chance(basis: Basis, expected: Forecast) -> Iterator[str]:
    share = percent(basis.traffic.failure_share)
    time = approximate_time(expected.chance)
    if expected.chance > LIFETIME:
        yield _("By chance, without an outage, it opens less than once in a hundred years.")
    elif basis.failures:
        yield _(
            "By chance, without an outage, it opens about once in %(time)s, if single calls go on "
            "failing as now (%(share)s)."
        ) % {"time": time, "share": share}
    else:
        yield _(
            "No call has failed. Even if %(share)s did, it would open by chance only once in "
            "%(time)s."
        ) % {"time": time, "share": share}
    if expected.chance_of_start >= WORTH_TELLING:
        yield _(
            "While its window fills, as after each recovery, it opens by chance in %(share)s of "
            "the cases."
        ) % {"share": percent(expected.chance_of_start)}


def _of_recovery(expected: Forecast) -> str:
    first, later = approximate_time(expected.recovery), approximate_time(expected.recovery_later)
    if first == later:
        sentence = _("Once the remote is well again, all calls pass after %(first)s at most.")
    else:
        sentence = _(
            "Once the remote is well again, all calls pass after %(first)s at most, and after a "
            "long outage after %(later)s."
        )
    return sentence % {"first": first, "later": later}


def _of_better(plan: Plan, each: Better, expected: Forecast) -> str:
    before = plan.timeout if each.field == "timeout" else getattr(plan.policy, each.field)
    written = percent if each.field == "failure_rate" else exact_time if _is_time(each) else rounded
    values = {
        "value": written(each.value),
        "before": written(before),
        "chance": approximate_time(each.expected.chance),
        "notice": approximate_time(each.expected.outage.seconds) if each.expected.outage else "",
        "freed": rounded(expected.lost_before - each.expected.lost_before),
    }
    return str(_BETTER[each.field, each.why] % values)


def _is_time(each: Better) -> bool:
    return each.field in ("timeout", "window_seconds")


_BETTER: Final = {
    ("timeout", "hang"): gettext_lazy(
        "Better: a timeout of %(value)s in place of %(before)s would free %(freed)s "
        "worker-seconds of each outage in which calls hang."
    ),
    ("threshold", "chance"): gettext_lazy(
        "Better: a threshold of %(value)s in place of %(before)s would open it by chance only once "
        "in %(chance)s."
    ),
    ("threshold", "outage"): gettext_lazy(
        "Better: a threshold of %(value)s in place of %(before)s would notice an outage after "
        "%(notice)s."
    ),
    ("failure_rate", "chance"): gettext_lazy(
        "Better: a failure rate of %(value)s in place of %(before)s would open it by chance only "
        "once in %(chance)s."
    ),
    ("window_seconds", "outage"): gettext_lazy(
        "Better: a window of %(value)s in place of %(before)s would notice an outage after "
        "%(notice)s."
    ),
}
