"""Measures the harm when one of eight workers cannot reach a remote: ``python -m bench.suspicion``.

Real processes on PostgreSQL make calls at an even pace, from the same moment on. All calls of the
broken worker fail and all others succeed. Nothing is known of the circuit at the start.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any, Final, NamedTuple

os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"

import django

from .crew import Crew, crew, wait_until

#: How many workers there are, of which the first is broken.
WORKERS: Final = 8

#: Calls a second of the broken worker, and of each other one.
RATES: Final = ((5, 20), (50, 20), (200, 5))

#: Seconds that a circuit stays open.
DELAY: Final = 2.0

NAME: Final = "suspicion"


class Calls(NamedTuple):
    """How many calls of a worker were let through, and how many were refused."""

    made: int
    refused: int


def call_for(
    start: float, is_broken: bool, rate: float, seconds: float, options: dict[str, Any]
) -> Calls:
    """Make ``rate`` calls a second for some seconds, and count those let through and refused."""
    import circuits

    from .databases import circuits_on

    made = refused = 0
    with circuits_on("postgres", DEFAULTS={"delay": DELAY}, **options):
        wait_until(start)
        for number in range(int(seconds * rate)):
            wait_until(start + number / rate)
            try:
                with circuits.guard(NAME):
                    made += 1
                    if is_broken:
                        raise ConnectionError("no route to host")
            except circuits.CircuitOpenError:
                refused += 1
            except ConnectionError:
                pass
        with suppress(Exception):
            circuits.flush()
    return Calls(made, refused)


def play(workers: Crew, rates: tuple[float, float], seconds: float, **options: Any) -> list[Calls]:
    """Let the workers make their calls, and return the counts of each, the broken one's first.

    Args:
        rates: Calls a second of the broken worker, and of each other one.
    """
    from circuits.models import Circuit

    Circuit.objects.using("postgres").all().delete()
    start = time.monotonic() + 0.5
    jobs = [
        member.submit(call_for, start, not index, rates[min(index, 1)], seconds, options)
        for index, member in enumerate(workers.members)
    ]
    return [job.result() for job in jobs]


def rows(seconds: float) -> Iterator[list[Any]]:
    """Yield a row of the table for each pair of rates, with the default snapshots and without.

    Args:
        seconds: How long the calls of one row go on.
    """
    from circuits.models import Transition

    with crew(WORKERS) as workers:
        for rates, snapshot_seconds in product(RATES, (0.2, 0)):
            options = {"SNAPSHOT_SECONDS": snapshot_seconds, "FLUSH_SECONDS": 5}
            broken, *well = play(workers, rates, seconds, **options)
            refused, made = sum(each.refused for each in well), sum(each.made for each in well)
            opened = Transition.objects.using("postgres").filter(from_state="closed")
            yield [
                *rates,
                "strict" if not snapshot_seconds else "default",
                opened.count(),
                f"{refused / (made + refused):.2%}",
                broken.made,
            ]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="seconds for each row (20)")
    seconds = parser.parse_args().seconds
    django.setup()
    from .databases import made_one

    print(
        "| broken, calls/s | each other | | openings | refused to the others"
        " | calls the broken one made |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with made_one("postgres"):
        for row in rows(seconds):
            print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    main()
