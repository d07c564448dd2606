"""What a run found, and how it is kept: as JSON that another run can be compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .measure import Timing, Timings, ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How one thing stands to another in the same run; the less, the better.

    Args:
        limit: The most it should be; None where it is only watched.
    """

    name: str
    value: float
    limit: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether it is over its limit."""
        return self.limit is not None and self.value > self.limit


def compare(timings: Timings, of: str, to: str, limit: float | None = None) -> Ratio:
    """Return the ratio of two contenders, under their names."""
    return Ratio(name=f"{of} / {to}", value=ratio(timings, of, to), limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Things counted. The first column names what a row is about."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Points to draw, by the name of the line they lie on."""

    x: str
    y: str
    lines: dict[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a case found.

    Args:
        name: The case's name.
        title: What it is about, for people.
        baseline: The contender that the timings are compared with.
    """

    name: str
    title: str
    timings: Timings = field(default_factory=dict)
    baseline: str = ""
    ratios: tuple[Ratio, ...] = ()
    table: Table | None = None
    curves: Curves | None = None

    @property
    def has_plot(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.timings or self.curves)

    def to_baseline(self, name: str) -> float:
        """Return how many times as long a contender takes as the baseline."""
        return ratio(self.timings, name, self.baseline)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run.

    Args:
        environment: What it ran on, by what it is: the versions, the processor.
        rounds: How many rounds each contender was timed in.
    """

    environment: dict[str, str]
    rounds: int
    results: tuple[Result, ...]

    def ratios(self) -> dict[str, Ratio]:
        """Return all ratios by the names of case and ratio."""
        return {
            f"{result.name}: {each.name}": each for result in self.results for each in result.ratios
        }

    def over(self, earlier: Report) -> Report:
        """Return an earlier run with the cases of this one in place of its own.

        Raises:
            ValueError: They ran on different things, so one table cannot speak for both.
        """
        ran_on = {**earlier.environment, "rounds": str(earlier.rounds)}
        runs_on = {**self.environment, "rounds": str(self.rounds)}
        for what in ran_on.keys() & runs_on.keys():
            if ran_on[what] != runs_on[what]:
                raise ValueError(
                    f"The earlier results have {what} {ran_on[what]} and these have "
                    f"{runs_on[what]}: run `make bench`, which measures everything."
                )
        mine = {result.name: result for result in self.results}
        results = [mine.pop(result.name, result) for result in earlier.results]
        return Report(
            environment=earlier.environment | self.environment,
            rounds=self.rounds,
            results=(*results, *mine.values()),
        )

    def save(self, file: Path) -> None:
        """Write it to a file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(_rounded(asdict(self)), indent=1) + "\n")


def load(file: Path) -> Report:
    """Return a report that was saved.

    Raises:
        ValueError: The file is not there or holds no report; the message says what to do.
    """
    try:
        raw = json.loads(file.read_text())
        return Report(
            environment=raw["environment"],
            rounds=raw["rounds"],
            results=tuple(_result(each) for each in raw["results"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} holds no results to compare with ({error!r}): run `make bench` to write them."
        ) from error


def _result(raw: dict[str, Any]) -> Result:
    return Result(
        name=raw["name"],
        title=raw["title"],
        timings={name: _timing(each) for name, each in raw["timings"].items()},
        baseline=raw["baseline"],
        ratios=tuple(Ratio(**each) for each in raw["ratios"]),
        table=_table(raw["table"]),
        curves=_curves(raw["curves"]),
    )


def _timing(raw: dict[str, Any]) -> Timing:
    return Timing(rounds=tuple(raw["rounds"]), p99=raw["p99"])


def _table(raw: dict[str, Any] | None) -> Table | None:
    if raw is None:
        return None
    return Table(columns=tuple(raw["columns"]), rows=tuple(tuple(row) for row in raw["rows"]))


def _curves(raw: dict[str, Any] | None) -> Curves | None:
    if raw is None:
        return None
    lines = {name: tuple((x, y) for x, y in points) for name, points in raw["lines"].items()}
    return Curves(x=raw["x"], y=raw["y"], lines=lines)


def _rounded(value: Any) -> Any:
    """Leave out digits that no measurement has."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_rounded(each) for each in value]
    return value
