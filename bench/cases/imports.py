"""What importing costs in a fresh process, and whether a second call imports anything."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Final

from bench import tasks
from bench.crew import crew
from bench.measure import Contender, Effort, measure
from bench.remote import serving
from bench.results import Ratio, Result
from bench.work import Tally

from .case import Case

NAME: Final = "imports"

#: The most nanoseconds that ``import circuits`` may take.
LIMIT: Final = 5_000_000

#: Prints the nanoseconds that an import takes once Django is imported.
PROGRAM: Final = """
import sys, django, django.conf
from time import perf_counter_ns
assert {module!r} not in sys.modules
started = perf_counter_ns()
import {module}
print(perf_counter_ns() - started)
"""

MODULES: Final = (
    "circuits",
    "pybreaker",
    "circuitbreaker",
    "aiobreaker",
    "purgatory",
    "resilient_circuit",
)


def run(effort: Effort) -> Result:
    """Time the imports, and count the modules that a second call imports."""
    timings = measure([_importing(module) for module in MODULES], replace(effort, least_batches=1))
    with serving() as url, crew(1) as process:
        [modules] = process.run(tasks.modules_of_second_call, url)
    return Result(
        name=NAME,
        title="Importing the package in a fresh process that has imported Django",
        timings=timings,
        baseline="import pybreaker",
        ratios=(
            Ratio(
                name="import circuits / 5 ms",
                value=timings["import circuits"].median / LIMIT,
                limit=1.0,
            ),
            Ratio(name="modules that a second circuits.call imports", value=len(modules), limit=0),
        ),
    )


def _importing(module: str) -> Contender:
    tally = Tally()
    command = [sys.executable, "-c", PROGRAM.format(module=module)]

    def time(calls: int) -> int:
        taken = 0
        for _ in range(calls):
            done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
            taken += int(done.stdout)
            tally.tick()
        return taken

    return Contender(name=f"import {module}", time=time, done=tally.total, batch=1)


CASE: Final = Case(name=NAME, run=run)
