"""A forecast of a policy that throttles, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from ..core.forecast import Plan, Traffic
from ..core.throttle_forecast import Outage, throttling
from .numbers import approximate_time, exact_time, percent, rounded
from .policies import unnoticed

#: The least share of calls refused by chance that is worth a sentence of its own.
WORTH_TELLING = 1e-6


def sentences(plan: Plan, traffic: Traffic) -> Iterator[str]:
    """Yield sentences on what the policy would do with the traffic."""
    expected = throttling(plan, traffic)
    if expected.outage is None:
        yield unnoticed(plan.policy, traffic)
    else:
        yield _of_outage(plan, expected.outage)
        yield _(
            "If the calls that pass hang until their timeout of %(timeout)s, they cost %(lost)s "
            "worker-seconds of each minute then."
        ) % {"timeout": exact_time(plan.timeout), "lost": rounded(expected.lost_per_minute)}
        yield _("Once the remote is well again, all calls pass after %(time)s at most.") % {
            "time": approximate_time(expected.outage.recovery)
        }
    yield _of_chance(traffic, expected.by_chance)


def _of_outage(plan: Plan, outage: Outage) -> str:
    return _(
        "If the remote goes down and each call fails at once, it begins to refuse calls after "
        "%(begins)s, and refuses about %(share)s of them after %(most)s."
    ) % {
        "begins": approximate_time(outage.begins),
        "share": percent(plan.policy.max_throttle),
        "most": approximate_time(outage.most),
    }


def _of_chance(traffic: Traffic, share: float) -> str:
    failing = percent(traffic.failure_share)
    if share < WORTH_TELLING:
        return _("While single calls go on failing as now (%(failing)s), it refuses none.") % {
            "failing": failing
        }
    return _(
        "While single calls go on failing as now (%(failing)s), it refuses %(share)s of the calls."
    ) % {"failing": failing, "share": percent(share)}
