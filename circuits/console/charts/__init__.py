"""Charts of calls, states and countdowns as SVG, each with a description for screen readers.

``circuits/charts.css`` and ``circuits/admin.css`` hold the colours, which are never the only sign.
The part of a chart that stretches with the page has a view box of its own, so that texts keep
their size.
"""

from .axis import LAST_DAY, LAST_HOUR
from .calls import Limit, outcome_chart, sparkline
from .latency import latency_chart
from .refused import refused_chart
from .ring import countdown_ring
from .states import timeline_chart

__all__ = [
    "LAST_DAY",
    "LAST_HOUR",
    "Limit",
    "countdown_ring",
    "latency_chart",
    "outcome_chart",
    "refused_chart",
    "sparkline",
    "timeline_chart",
]
