"""Draws the time until the next trial call as a ring that empties."""

from __future__ import annotations

from math import ceil

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ...reports.words import DAY, duration


def countdown_ring(remaining: float, total: float) -> SafeString:
    """Return a ring that empties as the time until the next trial call passes.

    It is drawn with the time that remains. A script reads that time and the whole wait, both in
    seconds, from ``data-circuits-countdown`` and ``data-circuits-total``. As time passes it changes
    the text and the first number of the ring's ``stroke-dasharray``: the share left, in percent.

    Args:
        remaining: The seconds until a call is let through.
        total: The length of the whole wait in seconds.
    """
    left = max(0.0, remaining)
    share = min(1.0, left / total) if total > 0 else 0.0
    return format_html(
        '<svg class="circuits-ring" role="img" aria-label="{}" width="56" height="56"'
        ' viewBox="0 0 56 56" fill="none" stroke-width="4" data-circuits-countdown="{}"'
        ' data-circuits-total="{}"><circle class="circuits-ring-base" cx="28" cy="28" r="25"/>'
        '<circle class="circuits-ring-left" cx="28" cy="28" r="25" pathLength="100"'
        ' stroke-dasharray="{} 100" transform="rotate(-90 28 28)"/>'
        '<text x="28" y="28" text-anchor="middle" dominant-baseline="central">{}</text></svg>',
        _wait_in_words(left),
        f"{left:.1f}",
        f"{max(0.0, total):.1f}",
        f"{100 * share:.4g}",
        _short(left),
    )


def _wait_in_words(seconds: float) -> str:
    if not seconds:
        return _("The next call is let through to try.")
    return _("The next call is let through to try in %s.") % duration(ceil(seconds))


def _short(seconds: float) -> str:
    """Return a time in a few characters, so that it fits into the ring."""
    for unit, text in ((1, _("%d s")), (60, _("%d min")), (3600, _("%d h"))):
        if ceil(seconds / unit) < 100:
            return text % ceil(seconds / unit)
    return _("%d d") % ceil(seconds / DAY)
