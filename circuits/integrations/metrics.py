"""Metrics for Prometheus, correct for any number of processes. Needs the extra `prometheus`.

Importing this module registers the metrics, and :func:`connect` makes them count. Nothing of
prometheus_client runs in a call: what :mod:`circuits.process.counts` has counted is read when the
metrics are collected. Where several processes share a folder of counts, each adds its own to the
files there, at every flush and at its end.

The circuit's name is the only label with many values. At most ``METRICS_CIRCUITS`` names are used:
each process counts the calls of all other circuits together, and a metric says how many circuits
are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import accumulate
from threading import RLock
from typing import Any, Final

from django.db import Error
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from prometheus_client.values import ValueClass

from .. import conf
from ..core.conviction import FORGET_SECONDS
from ..core.status import Mode, Quarantine, State
from ..process import counts, forks
from ..process.counts import Ended, Read
from ..process.observers import CallOutcome
from . import states

#: The environment variable with the folder in which several processes share one set of counts.
MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"

CALLS: Final = "circuits_calls"
SECONDS: Final = "circuits_call_duration_seconds"
TRANSITIONS: Final = "circuits_transitions"

#: What each metric that this process counts is about.
ABOUT: Final = {
    CALLS: "Calls through a circuit.",
    SECONDS: "How long the calls that were made took.",
    TRANSITIONS: "Changes of a circuit's state.",
}

#: The label of each bucket.
BUCKETS: Final = tuple(map(floatToGoString, (*counts.BOUNDS, float("inf"))))

Labels = Mapping[str, str]


class CountedHere(Collector):
    """What this process has counted, read when the metrics are collected."""

    def describe(self) -> Iterable[Metric]:
        """Name the metrics."""
        return _counters()

    def collect(self) -> Iterable[Metric]:
        """Read the counts."""
        calls, seconds, transitions = families = _counters()
        for each in counts.read():
            for outcome, ended in each.ended.items():
                calls.add_metric([each.name, outcome.value], sum(ended.calls))
            made = _made(each)
            if any(made.calls):
                in_bucket = zip(BUCKETS, accumulate(made.calls), strict=True)
                seconds.add_metric([each.name], list(in_bucket), sum(made.seconds))
            for ends, number in each.transitions.items():
                transitions.add_metric([each.name, *ends], number)
        return families


def _counters() -> tuple[CounterMetricFamily, HistogramMetricFamily, CounterMetricFamily]:
    return (
        CounterMetricFamily(CALLS, ABOUT[CALLS], labels=["circuit", "outcome"]),
        HistogramMetricFamily(SECONDS, ABOUT[SECONDS], labels=["circuit"]),
        CounterMetricFamily(TRANSITIONS, ABOUT[TRANSITIONS], labels=["circuit", "from", "to"]),
    )


def _made(read: Read) -> Ended:
    """Return the calls that were made, whatever their outcome; a refused one took no time."""
    made = [ended for outcome, ended in read.ended.items() if outcome is not CallOutcome.REFUSED]
    none = Ended((0,) * len(BUCKETS), (0.0,) * len(BUCKETS))
    each_bucket = zip(none, *made, strict=True)
    calls, seconds = (tuple(map(sum, zip(*kind, strict=True))) for kind in each_bucket)
    return Ended(calls, seconds)


class SharedFiles:
    """The files of prometheus_client that several processes share, for what this one counts."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew in a forked child, which has files of its own."""
        self._lock = RLock()
        # The value of each sample, and how much of what was counted it already has.
        self._values: dict[tuple[str, ...], tuple[Any, float]] = {}

    def hand_over(self) -> None:
        """Add what was counted since the last time to the files."""
        with self._lock:
            for each in counts.read():
                self._hand_over(each)

    def _hand_over(self, read: Read) -> None:
        circuit = {"circuit": read.name}
        for outcome, ended in read.ended.items():
            labels = {**circuit, "outcome": outcome.value}
            self._raise("counter", CALLS, "_total", labels, sum(ended.calls))
        for (from_state, to_state), number in read.transitions.items():
            labels = {**circuit, "from": from_state, "to": to_state}
            self._raise("counter", TRANSITIONS, "_total", labels, number)
        made = _made(read)
        if any(made.calls):
            self._raise("histogram", SECONDS, "_sum", circuit, sum(made.seconds))
            for bound, number in zip(BUCKETS, made.calls, strict=True):
                self._raise("histogram", SECONDS, "_bucket", {**circuit, "le": bound}, number)

    def _raise(self, kind: str, metric: str, suffix: str, labels: Labels, total: float) -> None:
        key = (metric + suffix, *labels.values())
        value, handed = self._values.get(key) or (None, 0.0)
        if value is None:
            names, values = tuple(labels), tuple(labels.values())
            value = ValueClass(kind, metric, metric + suffix, names, values, ABOUT[metric])
        if total > handed:
            value.inc(total - handed)
        self._values[key] = value, total


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
            circuits, left_out = states.most_urgent(conf.get().metrics_circuits)
        except Error:
            yield _with_value(families["up"], 0)
            return
        for each in circuits:
            alone = _number_alone(each.quarantines, each.now / 1_000_000)
            families["alone"].add_metric([each.name], alone)
            families["injected"].add_metric([each.name], each.is_injected)
            _add_choice(families["state"], each.name, each.state, State)
            _add_choice(families["mode"], each.name, each.mode, Mode)
        yield _with_value(families["up"], 1)
        yield _with_value(families["left_out"], left_out)
        yield from (families[name] for name in ("state", "mode", "alone", "injected"))


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
        "injected": GaugeMetricFamily(
            "circuits_injected",
            "1 while faults are injected into the calls of a circuit.",
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


COUNTED_HERE: Final = CountedHere()
SHARED_STATE: Final = SharedState()
FILES: Final = SharedFiles()

REGISTRY.register(COUNTED_HERE)
REGISTRY.register(SHARED_STATE)
forks.in_child(FILES.forget)


def connect() -> None:
    """Start counting calls."""
    counts.keep(__name__)
    if MULTIPROCESS in os.environ:
        counts.take_by(FILES.hand_over)


def disconnect() -> None:
    """Stop counting calls."""
    counts.drop(__name__)
    counts.take_no_more(FILES.hand_over)


def registry() -> CollectorRegistry:
    """Return the metrics to expose: those of all processes here if they share their counts."""
    if MULTIPROCESS not in os.environ:
        return REGISTRY
    counts.hand_over()
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # it registers itself
    together.register(SHARED_STATE)
    return together


def page(accept: str) -> tuple[bytes, str]:
    """Return the metrics in the format that an ``Accept`` header asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(registry()), content_type
