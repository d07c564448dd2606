"""Metrics for Prometheus, right over any number of worker processes. Needs the extra `prometheus`.

Importing it registers the metrics; :func:`connect` makes them count. A circuit's name is the only
label that is not from a short list, and there are at most ``MAX_CIRCUITS`` of those.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cache
from typing import Any, Final

from django.db import Error
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from . import observers
from .machine import Mode, State
from .models import Circuit, Transition
from .observers import CallOutcome
from .signals import state_changed

#: Set by whoever runs several processes that share one set of counts, in files in this folder.
MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"

CALLS: Final = Counter("circuits_calls", "Calls through a circuit.", ["circuit", "outcome"])
SECONDS: Final = Histogram(
    "circuits_call_duration_seconds", "How long the calls that were made took.", ["circuit"]
)
TRANSITIONS: Final = Counter(
    "circuits_transitions", "Changes of a circuit's state.", ["circuit", "from", "to"]
)

# Looked up once for each circuit: that takes a lock, and longer than the counting itself.
_calls: Final = cache(CALLS.labels)
_seconds: Final = cache(SECONDS.labels)


class SharedState(Collector):
    """Where each circuit stands, read from the database when somebody asks.

    The database is what all processes agree on, so it does not matter which of them answers.
    """

    def describe(self) -> Iterable[Metric]:
        """Name the metrics without asking the database."""
        return _families().values()

    def collect(self) -> Iterator[Metric]:
        """Read the circuits; where that fails, say so, and let the other metrics through."""
        families = _families()
        try:
            for name, state, mode in Circuit.objects.values_list("name", "state", "mode"):
                _add_choice(families["state"], name, state, State)
                _add_choice(families["mode"], name, mode, Mode)
        except Error:
            yield _with_value(families["up"], 0)
        else:
            yield from (_with_value(families["up"], 1), families["state"], families["mode"])


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        "up": GaugeMetricFamily(
            "circuits_database_up", "Whether the circuits' database could be read just now."
        ),
        "state": GaugeMetricFamily(
            "circuits_state", "1 for the state a circuit is in.", labels=["circuit", "state"]
        ),
        "mode": GaugeMetricFamily(
            "circuits_mode", "1 for the mode a circuit is in.", labels=["circuit", "mode"]
        ),
    }


def _add_choice(family: GaugeMetricFamily, name: str, chosen: str, choices: type[StrEnum]) -> None:
    for choice in choices:
        family.add_metric([name, choice.value], choice == chosen)


def _with_value(family: GaugeMetricFamily, value: float) -> GaugeMetricFamily:
    family.add_metric([], value)
    return family


SHARED: Final = SharedState()
REGISTRY.register(SHARED)


def observe(name: str, outcome: CallOutcome, seconds: float) -> None:
    """Count a call, and how long it took if it was made."""
    _calls(name, outcome.value).inc()
    if outcome is not CallOutcome.REFUSED:
        _seconds(name).observe(seconds)


def count_transition(*, name: str, transition: Transition, **_: Any) -> None:
    """Count a change of state; of all processes, only the one that made it hears of it."""
    if transition.from_state != transition.to_state:
        TRANSITIONS.labels(name, transition.from_state, transition.to_state).inc()


def connect() -> None:
    """Begin to count."""
    observers.add(observe)
    state_changed.connect(count_transition)


def disconnect() -> None:
    """Count no more."""
    observers.remove(observe)
    state_changed.disconnect(count_transition)


def registry() -> CollectorRegistry:
    """Return what is to be scraped: of all processes on this machine if they share their counts."""
    if MULTIPROCESS not in os.environ:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # it registers itself
    together.register(SHARED)
    return together


def page(accept: str) -> tuple[bytes, str]:
    """Return the metrics in the format that an ``Accept`` header asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(registry()), content_type
