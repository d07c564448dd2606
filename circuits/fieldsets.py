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
                "failure_statuses",
                "respect_retry_after",
            ),
            "description": _(
                "Lower the threshold to stop calling sooner; raise it to ride out single errors. "
                "Where some calls always fail, failures in a row say little: take the failure "
                "rate, and raise the minimum of calls if a few failures at night open it. The "
                "threshold counts for failures in a row; the rate, the windows and the minimum "
                "count for the failure rate. If it opens on answers that are no outage, or stays "
                "closed on answers that are one, set the failure statuses."
            ),
        },
    ),
    (
        _("Slow and concurrent calls"),
        {
            "fields": ("slow_call_seconds", "slow_call_rate", "max_concurrent"),
            "description": _(
                "If a slow remote makes the whole site slow, let slow calls count as failures, or "
                "limit how many calls each process may have under way: those above the limit are "
                "refused at once."
            ),
        },
    ),
    (
        _("How it recovers"),
        {
            "fields": (
                "delay",
                "backoff_factor",
                "max_delay",
                "jitter",
                "half_open_max_calls",
                "success_threshold",
                "lease_seconds",
                "ramp_up_seconds",
            ),
            "description": _(
                "Lower the delay to find out sooner that the remote is back; raise it, or the "
                "backoff factor, if trial calls hinder its recovery. If it closes too early and "
                "opens again, raise the successes to close. If the remote falls over again when "
                "all traffic returns at once, set a ramp-up."
            ),
        },
    ),
)
