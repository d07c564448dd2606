"""The results of a run, and the JSON file that keeps them for comparison with other runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .measure import Timing, Timings, ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A number of one run that can be compared with other runs; lower is better.

    Most are the time of one contender divided by that of another; some are counts.

    Args:
        limit: The highest value allowed; None if it is only watched.
    """

    name: str
    value: float
    limit: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether the value is over the limit."""
        return self.limit is not None and self.value > self.limit


def compare(timings: Timings, of: str, to: str, limit: float | None = None) -> Ratio:
    """Return the ratio of the time of contender ``of`` to that of contender ``to``."""
    return Ratio(name=f"{of} / {to}", value=ratio(timings, of, to), limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of counts. The first column names the subject of each row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Lines to draw.

    Args:
        x: The label of the horizontal axis.
        y: The label of the vertical axis.
        lines: The points of each line, by its name.
    """

    x: str
    y: str
    lines: dict[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The results of one case.

    Args:
        name: The name of the case.
        title: One sentence for readers on what was measured.
        baseline: The contender that the others are compared with.
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
        """Whether the results include something to draw."""
        return bool(self.timings or self.curves)

    def to_baseline(self, name: str) -> float:
        """Return how many times as long a contender takes as the baseline."""
        return ratio(self.timings, name, self.baseline)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of a whole run.

    Args:
        environment: The processor and the versions it ran on, such as ``{"Python": "3.11.7"}``.
        rounds: How many rounds each contender was timed in.
    """

    environment: dict[str, str]
    rounds: int
    results: tuple[Result, ...]

    def ratios(self) -> dict[str, Ratio]:
        """Return the ratios of all cases, by names such as ``hot: protect / pybreaker``."""
        return {
            f"{result.name}: {each.name}": each for result in self.results for each in result.ratios
        }

    def over(self, earlier: Report) -> Report:
        """Return an earlier report in which the cases of this one replace those of the same name.

        Raises:
            ValueError: The two ran on different machines, versions or numbers of rounds, so one
                table cannot describe both.
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
        """Write the report to a JSON file, and make the file's folder if it is missing."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(_rounded(asdict(self)), indent=1) + "\n")


def load(file: Path) -> Report:
    """Return the report that :meth:`Report.save` wrote to a file.

    Raises:
        ValueError: The file is missing or holds no report; the message says what to do.
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
    """Return a value with its numbers rounded to five digits; no measurement has more."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_rounded(each) for each in value]
    return value
