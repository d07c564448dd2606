"""Metrics for OpenTelemetry, read by its instruments when they are collected.

Nothing is counted until the site has set a meter provider. The durations cannot be read by an
observable instrument, since OpenTelemetry has no such histogram. So a call on a recorded span is
recorded at once, with the span as its exemplar; all others are recorded later, from the counts of
:mod:`circuits.process.counts`: each with the mean duration of its bucket, so that the buckets and
the sum are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from math import inf, nextafter
from threading import RLock
from typing import Final

from django.db import Error
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Histogram, Observation

from .. import conf
from ..core.status import State
from ..process import counts, forks, threads
from ..process.counts import BOUNDS, Counts, Ended
from ..process.observers import CallOutcome
from . import states

#: Where the modules of the API lie, whose own meter providers collect nothing.
_API: Final = ("opentelemetry", "metrics")

_NONE: Final = Ended((0,) * (len(BOUNDS) + 1), (0.0,) * (len(BOUNDS) + 1))


def is_on() -> bool:
    """Return whether the site has set a meter provider."""
    module = type(metrics.get_meter_provider()).__module__
    return tuple(module.split(".")[:2]) != _API


def _attributes(name: str, outcome: CallOutcome) -> dict[str, str]:
    return {"circuit.name": name, "circuit.outcome": outcome.value}


def _calls(options: CallbackOptions) -> Iterator[Observation]:
    durations().hand_over()
    for each in counts.read():
        for outcome, ended in each.ended.items():
            yield Observation(sum(ended.calls), _attributes(each.name, outcome))


def _transitions(options: CallbackOptions) -> Iterator[Observation]:
    for each in counts.read():
        for (from_state, to_state), number in each.transitions.items():
            about = {"circuit.name": each.name, "circuit.from": from_state, "circuit.to": to_state}
            yield Observation(number, about)


def _states(options: CallbackOptions) -> Iterable[Observation]:
    return [
        Observation(
            int(told.state == each), {"circuit.name": told.name, "circuit.state": each.value}
        )
        for told in _told()
        for each in State
    ]


def _injected(options: CallbackOptions) -> Iterable[Observation]:
    return [Observation(int(told.is_injected), {"circuit.name": told.name}) for told in _told()]


def _told() -> Sequence[states.Told]:
    """Read the circuits, in a thread whose connection to the database is looked after."""
    try:
        rows, _left_out = threads.wait_in_thread(states.most_urgent, conf.get().metrics_circuits)
    except Error:
        return []
    return rows


class Durations:
    """The histogram of durations, and how much of the counts it already has.

    Args:
        histogram: OpenTelemetry's.
    """

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self.forget()

    def forget(self) -> None:
        """Start anew in a forked child, which counts from zero."""
        # Reentrant, since the garbage collector may end an abandoned call while it is held.
        self._lock = RLock()
        self._on_spans: dict[str, Counts] = {}
        self._handed: dict[tuple[str, CallOutcome], Ended] = {}

    def record(self, name: str, outcome: CallOutcome, seconds: float) -> None:
        """Record a call at once, in its context, before it is counted."""
        counted = counts.of(name)
        if counted is None or outcome is CallOutcome.REFUSED:
            return
        name = counted.name
        self._on_spans.setdefault(name, Counts(name)).add(outcome, seconds)
        self._histogram.record(seconds, _attributes(name, outcome))

    def hand_over(self) -> None:
        """Record the calls that were counted since the last time, but those recorded at once."""
        if not is_on():
            return
        with self._lock:
            for each in counts.read():
                on_spans = self._on_spans.get(each.name)
                recorded = {} if on_spans is None else on_spans.read().ended
                for outcome, ended in each.ended.items():
                    if outcome is not CallOutcome.REFUSED:
                        rest = _less(ended, recorded.get(outcome, _NONE))
                        self._hand_over(each.name, outcome, rest)

    def _hand_over(self, name: str, outcome: CallOutcome, total: Ended) -> None:
        handed = self._handed.get((name, outcome), _NONE)
        new, attributes = _less(total, handed), _attributes(name, outcome)
        for calls, mean in _means(new):
            for _ in range(calls):
                self._histogram.record(mean, attributes)
        # A bucket without a new call waits: one recorded at once may not have been counted yet.
        self._handed[name, outcome] = Ended(
            tuple(map(max, total.calls, handed.calls)),
            tuple(
                [
                    after if calls > 0 else before
                    for calls, after, before in zip(
                        new.calls, total.seconds, handed.seconds, strict=True
                    )
                ]
            ),
        )


def _means(ended: Ended) -> Iterator[tuple[int, float]]:
    """Yield the number of calls in each bucket that has any, and their mean duration."""
    bounds = zip((0.0, *BOUNDS), (*BOUNDS, inf), strict=True)
    for calls, seconds, (lower, upper) in zip(*ended, bounds, strict=True):
        if calls > 0:
            # A thread may have counted a call and not yet its seconds.
            yield calls, min(max(seconds / calls, nextafter(lower, inf)), upper)


def _less(one: Ended, other: Ended) -> Ended:
    """Return what one has more than the other, in each bucket."""
    calls = tuple([a - b for a, b in zip(one.calls, other.calls, strict=True)])
    seconds = tuple([a - b for a, b in zip(one.seconds, other.seconds, strict=True)])
    return Ended(calls, seconds)


@cache
def durations() -> Durations:
    """Create the instruments, once, and return the durations."""
    meter = metrics.get_meter("circuits")
    meter.create_observable_counter(
        "circuits.calls", [_calls], unit="{call}", description="Calls through a circuit."
    )
    meter.create_observable_counter(
        "circuits.transitions",
        [_transitions],
        unit="{transition}",
        description="Changes of a circuit's state.",
    )
    meter.create_observable_up_down_counter(
        "circuits.state",
        [_states],
        unit="1",
        description="1 for the state a circuit is in, 0 for the others.",
    )
    meter.create_observable_up_down_counter(
        "circuits.injected",
        [_injected],
        unit="1",
        description="1 while faults are injected into the calls of a circuit.",
    )
    made = Durations(
        meter.create_histogram(
            "circuits.call.duration",
            unit="s",
            description="Duration of the calls that were made.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
    )
    forks.in_child(made.forget)
    return made


def connect() -> None:
    """Start counting calls, once the site has set a meter provider."""
    counts.keep(__name__, when=is_on)
    counts.take_by(durations().hand_over)


def disconnect() -> None:
    """Stop counting calls."""
    counts.drop(__name__)
    counts.take_no_more(durations().hand_over)
