"""One of many processes that call through many circuits at once, and record the outcomes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from threading import Lock
from typing import Any

from circuits.core.conviction import quarantine_of
from circuits.exceptions import CircuitOpenError
from circuits.process import entry, results, runtime
from circuits.process.gate import Ticket
from tests.concurrency import in_threads
from tests.faults.history import Passed, Refused, Trial

#: Seconds for which a circuit has many failures, or few.
SPELL = 0.7

#: Seconds a call takes at most.
LONGEST_CALL = 0.01


class Records:
    """What the threads of one process saw of each circuit; equal calls are kept once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._passed: dict[tuple[str, int], float] = {}
        self._refused: dict[tuple[str, int, int, bool], float] = {}
        self._trials: list[tuple[str, Trial]] = []

    def passed(self, name: str, generation: int, at: float) -> None:
        """Record a call that was let through."""
        with self._lock:
            key = name, generation
            self._passed[key] = max(at, self._passed.get(key, at))

    def refused(self, name: str, first: int, last: int, at: float, *, is_own: bool) -> None:
        """Record a refusal."""
        with self._lock:
            key = name, first, last, is_own
            self._refused[key] = max(at, self._refused.get(key, at))

    def tried(self, name: str, trial: Trial) -> None:
        """Record a trial."""
        with self._lock:
            self._trials.append((name, trial))

    def as_json(self) -> dict[str, list[Any]]:
        """Return all records as lists that begin with the circuit's name."""
        return {
            "passed": [[name, *Passed(last, at)] for (name, last), at in self._passed.items()],
            "refused": [
                [name, *Refused(first, last, at, is_own)]
                for (name, first, last, is_own), at in self._refused.items()
            ],
            "trials": [[name, *trial] for name, trial in self._trials],
        }


def call_for(names: Sequence[str], threads: int, seconds: float) -> dict[str, list[Any]]:
    """Call through the circuits from many threads for some seconds; return what they saw."""
    records = Records()
    deadline = time.time() + seconds

    def work(_: int) -> None:
        chance = Random()
        while time.time() < deadline:
            _call(chance.choice(names), chance, records)

    in_threads(threads, work, patience=seconds + 60)
    return records.as_json()


def pace(name: str, calls_per_second: float, phases: Sequence[Sequence[float]]) -> list[float]:
    """Make calls at an even pace; return the moments at which calls failed.

    Args:
        phases: The seconds of each phase, and the share of its calls that fail.
    """
    chance = Random()
    failed_at: list[float] = []
    next_at = time.monotonic()
    for seconds, share in phases:
        for _ in range(round(seconds * calls_per_second)):
            next_at += 1 / calls_per_second
            time.sleep(max(0.0, next_at - time.monotonic()))
            with suppress(CircuitOpenError):
                ticket = entry.admit(name)
                if chance.random() < share:
                    failed_at.append(time.time())
                    results.fail(ticket, "the remote is down")
                else:
                    results.succeed(ticket)
    return failed_at


def _call(name: str, chance: Random, records: Records) -> None:
    first, before, accused = _known_generation(name), time.time(), _accuses(name)
    try:
        ticket = entry.admit(name)
    except CircuitOpenError as error:
        is_own = error.is_alone or accused or _accuses(name)
        records.refused(name, first, _known_generation(name), before, is_own=is_own)
        time.sleep(0.001)  # so that those refused leave the processors to the others
        return
    began_at = time.time()
    time.sleep(chance.random() * LONGEST_CALL)
    ended_at = time.time()
    if ticket.permit.lease is None:
        records.passed(name, ticket.permit.generation, before)
    else:
        trial = Trial(ticket.permit.generation, began_at, ended_at, _is_own_trial(ticket))
        records.tried(name, trial)
    _settle(ticket, name, chance)


def _settle(ticket: Ticket, name: str, chance: Random) -> None:
    # Each circuit has good and bad spells, at other times than the other circuits.
    is_bad = int(time.time() / SPELL + len(name) + ord(name[-1])) % 3 == 0
    if chance.random() < (0.9 if is_bad else 0.1):
        results.fail(ticket, "the remote is down")
    elif chance.random() < 0.05:
        results.release(ticket)
    else:
        results.succeed(ticket)


def _known_generation(name: str) -> int:
    snapshot = runtime.gate(name).snapshot
    return 0 if snapshot is None else snapshot.status.generation


def _accuses(name: str) -> bool:
    """Return whether this process refuses its own calls while the circuit is closed for others."""
    gate = runtime.gate(name)
    if gate.snapshot is None:
        return False
    status = gate.snapshot.status
    return status.accuser == gate.process or quarantine_of(status, gate.process) is not None


def _is_own_trial(ticket: Ticket) -> bool:
    """Return whether a trial belongs to a process in quarantine; ask before it is settled."""
    quarantine = ticket.gate.snapshot and quarantine_of(
        ticket.gate.snapshot.status, ticket.gate.process
    )
    return bool(quarantine and quarantine.token == ticket.permit.lease)
