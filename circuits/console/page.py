"""Makes the context of the pages of a circuit and of an incident: charts, incidents, changes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any, Final

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..core.policy import Strategy
from ..models import REASONS, Circuit, history_of
from ..moments import to_seconds
from ..reports import incidents, statistics
from ..reports.incidents import Incident
from ..reports.readings import Reading
from ..reports.statistics import Slots, Timed
from ..reports.timeline import Span, Turn, spans
from ..reports.words import duration, percent
from ..storage.rows import status_of
from . import display
from .charts import (
    LAST_DAY,
    LAST_HOUR,
    Limit,
    countdown_ring,
    latency_chart,
    outcome_chart,
    refused_chart,
    timeline_chart,
)

#: How many changes and incidents a circuit's page shows, the newest ones.
CHANGES: Final = 20
INCIDENTS: Final = 10

#: An incident's page shows this many of its first changes, and as many of its last ones.
ENDS: Final = 20

#: The most changes read for a timeline. With a trial every ten seconds, two days have fewer.
TURNS: Final = 40_000
CHUNK: Final = 1_000

#: The most slots in the charts of an incident, and the widths of a slot to choose from, in minutes.
MOST_SLOTS: Final = 96
WIDTHS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 240, 720, statistics.DAY_MINUTES)


# A circuit ---------------------------------------------------------------------------------------


def of_circuit(reading: Reading) -> dict[str, Any]:
    """Return the context of a circuit's page below its top.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    circuit, now = reading.circuit, reading.now
    found = incidents.recent(circuit, INCIDENTS)
    return {
        "ring": _ring(reading),
        "charts": _charts(reading),
        "incidents": [incident_in_words(each, now) for each in found],
        "history": [display.change_context(each) for each in history_of(circuit)[:CHANGES]],
    }


def _ring(reading: Reading) -> str:
    status = status_of(reading.circuit)
    if not reading.retry_in or status.opened_at is None or status.retry_at is None:
        return ""
    return countdown_ring(reading.retry_in, status.retry_at - status.opened_at)


def _charts(reading: Reading) -> dict[str, Any]:
    day = Slots.until(reading.now, number=96, width=15)
    hour = Slots.until(reading.now, number=60, width=1)
    return {
        "zone": display.zone(reading.now),
        "timeline": timeline_chart(_spans_since(reading, day.start), day.start, day.end, LAST_DAY),
        "day": _calls_charts(reading.circuit, _timed(reading, day), day, LAST_DAY),
        "hour": _calls_charts(reading.circuit, _timed(reading, hour), hour, LAST_HOUR),
    }


def _timed(reading: Reading, slots: Slots) -> list[Timed]:
    return statistics.read_timed(reading.circuit.pk, slots)


def _calls_charts(circuit: Circuit, timed: list[Timed], slots: Slots, period: Any) -> SafeString:
    """Return the chart of outcomes, below it that of throttling, and last that of durations."""
    place = slots.start, slots.seconds, period
    calls, durations = zip(*timed, strict=True)
    is_throttle = circuit.strategy == Strategy.THROTTLE
    refused = refused_chart(calls, *place) if is_throttle else SafeString("")
    outcomes = outcome_chart(calls, *place, rate_limit(circuit))
    return outcomes + refused + latency_chart(durations, *place)


def rate_limit(circuit: Circuit) -> Limit | None:
    """Return the limit to the share of failures; None if only failures in a row count."""
    if circuit.strategy == Strategy.RATE:
        legend = _("opens at %(share)s failures")
    elif circuit.strategy == Strategy.THROTTLE:
        legend = _("throttles above %(share)s failures")
    else:
        return None
    return Limit(circuit.failure_rate, legend % {"share": percent(circuit.failure_rate)})


def _spans_since(reading: Reading, start: float) -> list[Span]:
    """Return the states and modes of a circuit since ``start``, or since it was made.

    If there are more than :data:`TURNS` changes, they begin at the oldest one that is read.
    """
    circuit, now = reading.circuit, reading.now
    changes = list(takewhile(lambda turn: turn.at >= start, _newest_turns(circuit, now)))
    first = changes[-1].at if changes else now
    made = to_seconds(circuit.created_at, until=now)
    start = first if len(changes) == TURNS else max(start, min(made, first))
    return spans(changes[::-1], circuit.state, circuit.mode, start, now)


def _newest_turns(circuit: Circuit, now: float) -> Iterator[Turn]:
    """Yield a circuit's changes, the newest first, reading them in chunks as they are used."""
    for last in range(circuit.generation, circuit.generation - TURNS, -CHUNK):
        chunk = history_of(circuit).filter(generation__gt=last - CHUNK, generation__lte=last)
        rows = list(chunk.values_list(*_TURN))
        if not rows:
            return
        yield from (_turn(row, now) for row in rows)


_TURN: Final = ("at", "from_state", "to_state", "from_mode", "to_mode")


def _turn(row: Any, now: float) -> Turn:
    at, *sides = row
    return Turn(to_seconds(at, until=now), *sides)


# An incident -------------------------------------------------------------------------------------


def of_incident(incident: Incident, reading: Reading) -> dict[str, Any]:
    """Return the context of an incident's page.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    history = incident.history()
    left_out = max(0, incident.changes - 2 * ENDS)
    first = list(history[: ENDS if left_out else 2 * ENDS])
    last = list(history.reverse()[:ENDS])[::-1] if left_out else []
    return {
        "incident": incident_in_words(incident, reading.now),
        "charts": _incident_charts(incident, reading),
        "first": [display.change_context(each) for each in first],
        "left_out": left_out,
        "last": [display.change_context(each) for each in last],
    }


def incident_in_words(incident: Incident, now: float) -> dict[str, Any]:
    """Return the values of an incident in words, for templates."""
    opening, closing = incident.opening, incident.closing
    began, ended = _times(incident, now)
    return {
        "generation": opening.generation,
        "last_generation": incident.last_generation,
        "opened_at": display.at(opening.at),
        "closed_at": closing and display.at(closing.at),
        "is_over": incident.is_over,
        "duration": duration(max(0.0, ended - began)),
        "change": display.change(opening),
        "reason": dict(REASONS)[opening.reason],
        "detail": opening.detail,
        "actor": opening.actor,
        "closed_by": closing and dict(REASONS)[closing.reason],
        "closing_detail": closing and closing.detail,
        "closing_actor": closing and closing.actor,
        "failed_trials": incident.failed_trials,
        "refusals": incident.refusals,
        "is_cut": incident.is_cut,
        "is_observed": incident.is_observed,
        "badge": display.observed_badge(),
        "changes": incident.changes,
    }


def _times(incident: Incident, now: float) -> tuple[float, float]:
    """Return when an incident began and ended, or now if it lasts, in seconds since 1970."""
    began = to_seconds(incident.opening.at, until=now)
    closing = incident.closing
    return began, now if closing is None else to_seconds(closing.at, since=began)


def _incident_charts(incident: Incident, reading: Reading) -> dict[str, Any]:
    began, ended = _times(incident, reading.now)
    slots = slots_over(began, ended)
    timed = _timed(reading, slots)
    is_any = any(any(each.calls) for each in timed)
    return {
        "zone": display.zone(began),
        "timeline": _incident_timeline(incident, slots, began, ended),
        "calls": is_any and _calls_charts(reading.circuit, timed, slots, _("this time")),
    }


def slots_over(began: float, ended: float) -> Slots:
    """Return slots from a little before ``began`` to a little after ``ended``."""
    minutes = (ended - began) / statistics.MINUTE_SECONDS + 2
    width = next((width for width in WIDTHS if minutes <= width * (MOST_SLOTS - 2)), WIDTHS[-1])
    end = ended + width * statistics.MINUTE_SECONDS
    return Slots.until(end, number=int(minutes / width) + 3, width=width)


def _incident_timeline(incident: Incident, slots: Slots, began: float, ended: float) -> str:
    """Return the timeline of an incident; empty if it has too many changes or they are not kept."""
    if incident.changes > TURNS or incident.last is None:
        return ""
    turns = [_turn(row, ended) for row in incident.history().values_list(*_TURN)]
    state, mode = incident.last.to_state, incident.last.to_mode
    return timeline_chart(
        spans(turns, state, mode, slots.start, ended), slots.start, slots.end, _("this time")
    )
