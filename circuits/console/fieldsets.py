"""The policy of a circuit as its form asks for it, with what to change when."""

from __future__ import annotations

from typing import Any, Final

from django.utils.translation import gettext_lazy as _

POLICY_FIELDSETS: Final[Any] = (
    (
        _("What it is"),
        {
            "fields": ("name", "probe_url", "timeout"),
            "description": _(
                "If calls hang for a long time before they fail, lower the timeout: threads that "
                "wait for a dead remote are missing elsewhere. A probe URL lets you try the remote "
                "from here."
            ),
        },
    ),
    (
        _("When it opens"),
        {
            "fields": (
                "strategy",
                "threshold",
                "failure_rate",
                "window_seconds",
                "window_calls",
                "minimum_calls",
                "max_throttle",
            ),
            "description": _(
                "Lower the threshold to stop calling sooner; raise it to ride out single errors. "
                "Where some calls always fail, failures in a row say little: take the failure "
                "rate, and raise the minimum of calls if a few failures at night open it. Where a "
                "part of the remote fails and the rest is worth calling, throttle."
            ),
        },
    ),
    (
        _("How it recovers"),
        {
            "fields": ("delay", "backoff_factor", "max_delay", "success_threshold"),
            "description": _(
                "Lower the delay to find out sooner that the remote is back; raise it, or the "
                "backoff factor, if trial calls hinder its recovery. If it closes too early and "
                "opens again, raise the successes to close."
            ),
        },
    ),
    (
        _("What counts as a failure"),
        {
            "classes": ("collapse",),
            "fields": ("failure_statuses", "respect_retry_after"),
            "description": _(
                "If it opens on answers that are no outage, or stays closed on answers that are "
                "one, set the failure statuses."
            ),
        },
    ),
    (
        _("Slow and concurrent calls"),
        {
            "classes": ("collapse",),
            "fields": ("slow_call_seconds", "slow_call_rate", "max_concurrent", "max_wait_seconds"),
            "description": _(
                "If a slow remote makes the whole site slow, let slow calls count as failures, or "
                "limit how many calls each process may have under way: those above the limit are "
                "refused at once."
            ),
        },
    ),
    (
        _("Recovery in detail"),
        {
            "classes": ("collapse",),
            "fields": ("jitter", "half_open_max_calls", "lease_seconds", "ramp_up_seconds"),
            "description": _(
                "If the remote falls over again when all traffic returns at once, set a ramp-up. "
                "If many sites call it, let chance spread their trials by a jitter."
            ),
        },
    ),
    (
        _("Retries"),
        {
            "classes": ("collapse",),
            "fields": ("retry_share",),
            "description": _(
                "If retries add to the load of a remote that is down, lower their share: all "
                "processes together then retry less. Recent calls are those of the window in "
                "seconds, by default a minute; ten retries in it are always allowed. The limit "
                "holds only for code that asks for it."
            ),
        },
    ),
    (
        _("How much of it is real"),
        {
            "classes": ("collapse",),
            "fields": ("enforce_share",),
            "description": _(
                "If you do not trust the policy yet, begin with a small share and raise it. The "
                "calls that pass all the same are counted as refused, and have no say in whether "
                "the circuit closes."
            ),
        },
    ),
)
