"""Draws the durations of calls as two lines: half took at most p50, and 95 of 100 at most p95."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...core import latency
from ...core.latency import Histogram
from ...reports.numbers import answered_within
from ...reports.words import grouped
from .axis import AXIS, LAST_DAY, axis, line, slot_titles

#: The height of the line with the maximum above the chart, and of the plot, in pixels.
HEAD: Final = 16
PLOT: Final = 48

_SHARES: Final = {"p50": latency.TYPICAL, "p95": latency.SLOW}


def latency_chart(
    slots: Sequence[Histogram], start: float, slot_seconds: float, period: Any = LAST_DAY
) -> SafeString:
    """Return a chart of the durations of calls; an empty string if no call was timed.

    Args:
        slots: The durations in each slot, the oldest first.
        start: The beginning of the first slot, in seconds since 1970.
        slot_seconds: The length of each slot.
        period: The name of the whole time in a sentence.
    """
    total = latency.added(*slots)
    if not any(total):
        return SafeString("")
    values = {name: _quantiles(slots, share) for name, share in _SHARES.items()}
    most = _bound(max(each for each in values["p95"] if each is not None))
    paths = ((name, "".join(_steps(each, most))) for name, each in values.items())
    return format_html(
        '<figure class="circuits-chart"><svg role="img" aria-label="{}" width="100%" height="{}">'
        '<text x="0" y="{}">{}</text>{}{}<svg y="{}" width="100%" height="{}"'
        ' viewBox="0 0 {} {}" preserveAspectRatio="none">{}{}</svg>{}</svg>'
        "<figcaption>{}<span>{}</span></figcaption></figure>",
        _(
            "Half of the answers came within %(typical)s and 95 of 100 within %(slow)s "
            "in %(period)s."
        )
        % {**_in_words(total), "period": period},
        HEAD + PLOT + AXIS,
        HEAD - 5,
        answered_within(most),
        line("circuits-grid", HEAD),
        line("circuits-base", HEAD + PLOT),
        HEAD,
        PLOT,
        len(slots),
        PLOT,
        format_html_join("", '<path class="circuits-{}" d="{}"/>', paths),
        slot_titles([_title(each) for each in slots], start, slot_seconds, PLOT),
        axis(start, start + slot_seconds * len(slots), HEAD + PLOT),
        _legend(total),
        ngettext("of %s timed call", "of %s timed calls", sum(total)) % grouped(sum(total)),
    )


def _quantiles(slots: Sequence[Histogram], share: float) -> list[float | None]:
    return [latency.quantile(each, share) for each in slots]


def _bound(seconds: float) -> float:
    """Return the top of the chart: the upper bound of the bucket that a duration is in."""
    return next((bound for bound in latency.BOUNDS if bound >= seconds), latency.BOUNDS[-1])


def _steps(values: Sequence[float | None], most: float) -> Iterator[str]:
    """Yield a step for each slot with timed calls; steps of neighbouring slots are joined."""
    is_drawing = False
    for index, value in enumerate(values):
        if value is not None:
            height = round(PLOT * (1 - value / most), 1)
            yield f"V{height:g}h1" if is_drawing else f"M{index} {height:g}h1"
        is_drawing = value is not None


def _in_words(counts: Histogram) -> dict[str, str]:
    typical, slow = (latency.quantile(counts, share) or 0.0 for share in _SHARES.values())
    return {"typical": answered_within(typical), "slow": answered_within(slow)}


def _title(counts: Histogram) -> str:
    if not any(counts):
        return _("no timed calls")
    return _("half within %(typical)s, 95 of 100 within %(slow)s") % _in_words(counts)


def _legend(total: Histogram) -> SafeString:
    words = _in_words(total)
    return format_html_join(
        "",
        '<span><svg class="circuits-swatch" width="18" height="12" aria-hidden="true">'
        '<path class="circuits-{}" d="M0 6h18"/></svg> {}</span>',
        (
            ("p50", _("p50: half within %(typical)s") % words),
            ("p95", _("p95: 95 of 100 within %(slow)s") % words),
        ),
    )
