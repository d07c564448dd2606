"""Calls, timelines and countdowns drawn as SVG, with what they show in words for who sees none.

The colours are those of ``circuits/charts.css`` and ``circuits/admin.css``, and never the only
sign. What stretches with the page has a view box of its own, so that the texts keep their size.
"""

from .axis import LAST_DAY, LAST_HOUR
from .calls import outcome_chart, sparkline
from .latency import latency_chart
from .ring import countdown_ring
from .states import timeline_chart

__all__ = [
    "LAST_DAY",
    "LAST_HOUR",
    "countdown_ring",
    "latency_chart",
    "outcome_chart",
    "sparkline",
    "timeline_chart",
]
