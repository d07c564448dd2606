"""Metrics for Prometheus, correct for any number of processes. Needs the extra `prometheus`.

Importing this module registers the metrics, and :func:`connect` makes them count. The circuit's
name is the only label with many values. At most ``METRICS_CIRCUITS`` names are used: each process
counts the calls of all other circuits together, and a metric says how many circuits are left out.
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

from .. import conf
from ..core.conviction import FORGET_SECONDS
from ..core.status import Mode, Quarantine, State
from ..fields import with_clock
from ..models import Circuit, Transition
from ..process import observers
from ..process.observers import CallOutcome
from ..signals import state_changed

#: The environment variable with the folder in which several processes share one set of counts.
MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"

CALLS: Final = Counter("circuits_calls", "Calls through a circuit.", ["circuit", "outcome"])
SECONDS: Final = Histogram(
    "circuits_call_duration_seconds", "How long the calls that were made took.", ["circuit"]
)
TRANSITIONS: Final = Counter(
    "circuits_transitions", "Changes of a circuit's state.", ["circuit", "from", "to"]
)

#: The label for all circuits beyond ``METRICS_CIRCUITS``.
OTHERS: Final = "(others)"

# Cached, since looking up a label takes a lock, and longer than the counting itself.
_calls: Final = cache(CALLS.labels)
_seconds: Final = cache(SECONDS.labels)

#: The names that have a label in this process.
_labelled: Final[set[str]] = set()


class SharedState(Collector):
    """The state of each circuit, read from the database when the metrics are collected.

    All processes share the database, so it does not matter which of them answers.
    """

    def describe(self) -> Iterable[Metric]:
        """Name the metrics without asking the database."""
        return _families().values()

    def collect(self) -> Iterator[Metric]:
        """Read the circuits; if that fails, report it and leave the other metrics intact."""
        families = _families()
        try:
            circuits, left_out = _most_urgent(conf.get().metrics_circuits)
        except Error:
            yield _with_value(families["up"], 0)
            return
        for name, state, mode, kept, now in circuits:
            families["alone"].add_metric([name], _number_alone(kept, now / 1_000_000))
            _add_choice(families["state"], name, state, State)
            _add_choice(families["mode"], name, mode, Mode)
        yield _with_value(families["up"], 1)
        yield _with_value(families["left_out"], left_out)
        yield from (families["state"], families["mode"], families["alone"])


def _most_urgent(most: int) -> tuple[list[tuple[Any, ...]], int]:
    """Return the columns of the most urgent circuits, and how many circuits are left out.

    The order is that of an index. The rest is counted only if there is any.
    """
    rows: Any = with_clock(Circuit.objects.order_by("urgency", "name")).values_list(
        "name", "state", "mode", "quarantines", "db_now"
    )
    found = list(rows[: most + 1])
    left_out = Circuit.objects.count() - most if len(found) > most else 0
    return found[:most], left_out


def _number_alone(kept: Any, now: float) -> int:
    """Return how many processes are in quarantine, by a row's quarantines, and may come back.

    Args:
        now: The present time, in seconds on the database's clock.
    """
    each_one = (Quarantine(*each) for each in kept or ())
    return sum(one.tries > 0 and now < one.until + FORGET_SECONDS for one in each_one)


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        "up": GaugeMetricFamily(
            "circuits_database_up", "Whether the circuits' database could be read just now."
        ),
        "left_out": GaugeMetricFamily(
            "circuits_left_out", "Circuits whose state is not told: there are too many."
        ),
        "state": GaugeMetricFamily(
            "circuits_state", "1 for the state a circuit is in.", labels=["circuit", "state"]
        ),
        "alone": GaugeMetricFamily(
            "circuits_processes_alone",
            "Processes that alone cannot reach the remote of a circuit.",
            labels=["circuit"],
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
    """Count a call and, if it was made, its duration."""
    name = _label(name)
    _calls(name, outcome.value).inc()
    if outcome is not CallOutcome.REFUSED:
        _seconds(name).observe(seconds)


def _label(name: str) -> str:
    """Return a circuit's name, or :data:`OTHERS` if there are too many names."""
    if name not in _labelled:
        if len(_labelled) >= conf.get().metrics_circuits:
            return OTHERS
        _labelled.add(name)
    return name


def count_transition(*, name: str, transition: Transition, **_: Any) -> None:
    """Count a change of state. Only the process that made the change receives the signal."""
    if transition.from_state != transition.to_state:
        TRANSITIONS.labels(_label(name), transition.from_state, transition.to_state).inc()


def connect() -> None:
    """Start counting calls."""
    observers.add(observe)
    state_changed.connect(count_transition)


def disconnect() -> None:
    """Stop counting calls."""
    observers.remove(observe)
    state_changed.disconnect(count_transition)


def registry() -> CollectorRegistry:
    """Return the metrics to expose: those of all processes here if they share their counts."""
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
