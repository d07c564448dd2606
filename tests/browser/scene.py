"""A scene for pages: a shop on a bad morning, with circuits in every state and mode."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from math import sin
from random import Random
from typing import Any, Final

from django.db.models import DateTimeField, F

import circuits
from circuits.core.recording import Call, Ending
from circuits.models import Circuit, Minute, Recording, Transition
from circuits.moments import to_datetime
from circuits.process import runtime
from circuits.reports.statistics import DAY_MINUTES, MINUTE_SECONDS
from circuits.storage import recordings
from circuits.storage.database import DatabaseStore
from tests.factories import CircuitFactory

#: The circuit with the most to show: it is open, and has been open before.
DOWN: Final = "payments"

#: The circuit that somebody has forced.
FORCED: Final = "newsletter"


def play(mock: str) -> None:
    """Play the morning, with real HTTP calls.

    Args:
        mock: The base URL of the mock service.
    """
    _Morning(mock).pass_by()


def add_a_day_of_calls() -> None:
    """Give all circuits the calls of a day, more in the evening than at night."""
    chance = Random(1)
    now = int(DatabaseStore().now() // MINUTE_SECONDS)
    for circuit in Circuit.objects.all():
        usual = chance.randint(5, 80)
        quiet = {minute for minute, *_ in circuit.minutes.values_list("minute")}
        Minute.objects.bulk_create(
            _minute(circuit, minute, usual * (1.2 + sin(minute / 229)), chance)
            for minute in range(now - DAY_MINUTES, now)
            if minute not in quiet
        )


def _minute(circuit: Circuit, minute: int, usual: float, chance: Random) -> Minute:
    calls = max(0, round(chance.gauss(usual, usual / 6)))
    failures = chance.randint(0, 1 + calls // 30)
    return Minute(
        circuit=circuit, minute=minute, successes=max(0, calls - failures), failures=failures
    )


class _Morning:
    def __init__(self, mock: str) -> None:
        self._mock = mock

    def pass_by(self) -> None:
        self._all_is_well()
        self._one_goes_down_and_recovers()
        self._somebody_steps_in()
        self._two_go_down()
        self._one_tries_again()
        _one_was_recorded()

    def _all_is_well(self) -> None:
        self._make("address lookup")
        self._make("exchange rates", delay=60, probe_url=f"{self._mock}/success")
        self._make("parcel tracking", delay=240, success_threshold=3)
        self._make(DOWN, delay=300, probe_url=f"{self._mock}/success")
        self._make("product search", threshold=10)
        self._make("recommendations")
        self._make("stock levels")
        self._make(FORCED)
        _time_passes(minutes=95)

    def _one_goes_down_and_recovers(self) -> None:
        for name in (DOWN, "exchange rates"):
            self._call(name, "faulty", times=5)
            _time_passes(minutes=6)
            self._call(name, "success")

    def _somebody_steps_in(self) -> None:
        circuits.get("recommendations").observe(actor="ben", reason="Trying a lower threshold")
        _time_passes(minutes=35)
        words = "The provider moves house until 14:00"
        circuits.get(FORCED).force_open(actor="ann", reason=words)
        _time_passes(minutes=20)

    def _two_go_down(self) -> None:
        self._call("recommendations", "faulty", times=5)
        self._call("parcel tracking", "slow?seconds=0.2", times=5, timeout=0.05)
        _time_passes(minutes=3)
        self._call(DOWN, "faulty", times=5)
        self._call(DOWN, "success", times=7)
        _time_passes(minutes=1, seconds=12)

    def _one_tries_again(self) -> None:
        self._call("parcel tracking", "success", times=2)
        for name in ("address lookup", "exchange rates", "stock levels"):
            self._call(name, "success", times=5)
        self._call("product search", "faulty", times=2)
        runtime.flush()

    def _make(self, name: str, **policy: Any) -> None:
        CircuitFactory.create(name=name, **policy)
        self._call(name, "success", times=10)

    def _call(self, name: str, endpoint: str, *, times: int = 1, timeout: float = 5) -> None:
        for _ in range(times):
            with suppress(circuits.RemoteCallFailedException):
                circuits.call(name, f"{self._mock}/{endpoint}", timeout=timeout)


def _time_passes(*, minutes: float, seconds: float = 0) -> None:
    """Move everything that has happened back in time."""
    runtime.flush()
    passed = timedelta(minutes=minutes, seconds=seconds)
    for model in (Circuit, Transition):
        moments = [each.name for each in model._meta.fields if isinstance(each, DateTimeField)]
        model._default_manager.update(**{name: F(name) - passed for name in moments})
    # Each goes where no other is any more.
    for row in Minute.objects.order_by("minute"):
        row.minute -= round(minutes)
        row.save()
    runtime.forget()


def _one_was_recorded() -> None:
    """Give the circuit that is down a recording of the last hour, with two bad periods."""
    store, circuit, chance = DatabaseStore(), Circuit.objects.get(name=DOWN), Random(1)
    now = store.now()
    recordings.begin(store.alias, circuit, 60)
    since = now - 3_600
    Recording.objects.update(since=to_datetime(since), until=to_datetime(now))
    calls = [_recorded(since + 2 * number, number, chance) for number in range(1_800)]
    recordings.add(store.alias, DOWN, calls)


def _recorded(at: float, number: int, chance: Random) -> Call:
    is_bad = 600 <= number < 660 or 1_500 <= number < 1_600
    ending = Ending.FAILED if chance.random() < (0.8 if is_bad else 0.03) else Ending.GOOD
    return Call(at, chance.random(), ending)
