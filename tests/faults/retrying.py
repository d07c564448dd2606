"""Sites whose calls are retried: how much an outage, or single failures, load on the remote.

Each process is a real gate with its own part of the budget; only the row behind them is modelled.
Calls come at random moments to random processes. One that fails is retried up to three times, after
0.1, 0.2 and 0.4 seconds, more or less. A simulation has its seed, so it comes out the same each
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Final, NamedTuple

import pytest
from django.conf import settings
from django.test.utils import override_settings

from circuits.core.policy import Policy
from tests import clock as clocks
from tests.faults.fleet import Fleet

#: Retries that a call may have, and the mean seconds before the first one, which then double.
RETRIES: Final = 3
BACKOFF: Final = 0.1

#: Seconds in which all is well before an outage, and that it lasts.
HEALTHY: Final = 60.0
OUTAGE: Final = 60.0

#: Shares of failed attempts by chance to try.
FAILED_SHARES: Final = (0.01, 0.05, 0.1, 0.2, 0.3)

#: The threshold of a circuit that never opens.
NEVER: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How a site retries.

    Args:
        is_within_budget: Whether it asks the budget before each retry.
        has_breaker: Whether the circuit may open; a refusal is not retried.
        failure_share: The share of attempts that fail while there is no outage.
    """

    is_within_budget: bool = False
    has_breaker: bool = False
    failure_share: float = 0.0


class Sent(NamedTuple):
    """What the remote was sent.

    Args:
        calls: Calls that the site wanted to make.
        attempts: Attempts that reached the remote, retries included.
        failed: Calls that failed to the end, refused ones included.
    """

    calls: int
    attempts: int
    failed: int

    @property
    def load(self) -> float:
        """Attempts for each call."""
        return self.attempts / self.calls

    @property
    def failed_share(self) -> float:
        """The share of the calls that failed to the end."""
        return self.failed / self.calls


class _Attempt(NamedTuple):
    at: float
    order: int
    process: int
    retries: int


class _Site:
    def __init__(
        self, client: Client, processes: int, rate: float, clock: clocks.Clock, seed: int
    ) -> None:
        self._chance = Random(seed)
        policy = Policy() if client.has_breaker else Policy(threshold=NEVER)
        self._fleet = Fleet(processes, policy, clock, self._chance)
        self._client = client
        self._processes = processes
        self._rate = rate
        self._clock = clock
        self._due: list[_Attempt] = []
        self._orders = 0

    def play(self, seconds: float, failure_share: float) -> Sent:
        """Let calls come for so long, and return what the remote was sent meanwhile."""
        end = self._clock.now + seconds
        calls = attempts = failed = 0
        at = self._clock.now
        while (at := at + self._chance.expovariate(self._rate)) < end:
            self._plan(at, int(self._chance.random() * self._processes), 0)
            calls += 1
        while self._due and self._due[0].at < end:
            attempt = heappop(self._due)
            self._fleet.flush_until(attempt.at)
            self._clock.now = attempt.at
            leave = self._fleet.admit(attempt.process)
            if leave is None:
                failed += 1
                continue
            attempts += 1
            fails = self._chance.random() < failure_share
            self._fleet.settle(leave, fails)
            if fails and not self._retry(attempt):
                failed += 1
        self._clock.now = end
        return Sent(calls, attempts, failed)

    def _retry(self, attempt: _Attempt) -> bool:
        if attempt.retries == RETRIES:
            return False
        if self._client.is_within_budget and not self._fleet.may_retry(attempt.process):
            return False
        wait = BACKOFF * 2**attempt.retries * (0.5 + self._chance.random())
        self._plan(attempt.at + wait, attempt.process, attempt.retries + 1)
        return True

    def _plan(self, at: float, process: int, retries: int) -> None:
        self._orders += 1
        heappush(self._due, _Attempt(at, self._orders, process, retries))


def outage(client: Client, processes: int, rate: float, seed: int = 1) -> Sent:
    """Let every attempt fail for a minute, after one in which none did."""
    return _played(client, processes, rate, seed, healthy=HEALTHY, then=(OUTAGE, 1.0))


def blips(client: Client, processes: int = 8, rate: float = 100, seed: int = 1) -> Sent:
    """Let attempts fail by chance for a minute, after one of the same kind."""
    share = client.failure_share
    return _played(client, processes, rate, seed, healthy=HEALTHY, then=(OUTAGE, share))


def _played(
    client: Client,
    processes: int,
    rate: float,
    seed: int,
    *,
    healthy: float,
    then: tuple[float, float],
) -> Sent:
    keys = {"SNAPSHOT_SECONDS": 0.2, "FLUSH_SECONDS": 5.0}
    with (
        pytest.MonkeyPatch.context() as patch,
        override_settings(CIRCUITS={**settings.CIRCUITS, **keys}),
    ):
        site = _Site(client, processes, rate, clocks.install(patch), seed)
        site.play(healthy, client.failure_share)
        return site.play(*then)
