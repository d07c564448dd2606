"""Sample reports for the tests of the benchmarks."""

from __future__ import annotations

from bench.measure import Timing
from bench.results import Curves, Ratio, Report, Result, Table

TIMINGS = {
    "protect": Timing(rounds=(400.0, 800.0, 420.0), p99=900.0),
    "no breaker": Timing(rounds=(50.0, 100.0, 60.0), p99=70.0),
    "a peer": Timing(rounds=(1000.0, 2000.0, 1050.0), p99=4_000_000.0),
}


def report(protect: float = 0.4, queries: float = 1) -> Report:
    """Return a report of two cases with the given ratios."""
    return Report(
        environment={"Python": "3.11", "processors": "2 x fast"},
        rounds=3,
        results=(
            Result(
                name="hot",
                title="A call",
                timings=TIMINGS,
                baseline="a peer",
                ratios=(
                    Ratio(name="protect / a peer", value=protect, limit=0.5),
                    Ratio(name="guard / a peer", value=1.2),
                ),
            ),
            Result(
                name="fleet",
                title="A fleet",
                ratios=(Ratio(name="queries", value=queries, limit=1),),
                table=Table(columns=("processes", "a | b"), rows=(("1", 5.2), ("64", 333.0))),
                curves=Curves(x="processes", y="a second", lines={"a model": ((1, 5.2), (2, 10))}),
            ),
        ),
    )
